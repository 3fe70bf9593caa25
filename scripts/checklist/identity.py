"""Items about who talks to whom: TLS, client certificates, keys, and what only an administrator may do."""

import json
import os
import re
import ssl
import subprocess
import warnings

from doors import GOOD, INFER
from harness import BINARY, Daemon
from items import ask, connect, ends, item, lives

warnings.filterwarnings("ignore", category=DeprecationWarning)

place = secure = mutual = wide = None


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", place / f"{name}-key.pem", "-out", place / f"{name}.pem")  # fmt: skip


def sign(name, by):
    request, extra = place / f"{name}.csr", place / f"{name}.ext"
    extra.write_text("subjectAltName=DNS:localhost\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", place / f"{name}-key.pem", "-out", request)  # fmt: skip
    openssl("x509", "-req", "-in", request, "-CA", place / f"{by}.pem", "-CAkey", place / f"{by}-key.pem",
            "-CAcreateserial", "-days", "2", "-extfile", extra, "-out", place / f"{name}.pem")  # fmt: skip


def prepare(folder):
    global place, secure, mutual, wide
    place = folder
    for name in ["ours", "theirs"]:
        authority(name)
    for name, by in [("server", "ours"), ("client", "ours"), ("stranger", "theirs")]:
        sign(name, by)
    pair = [f"--set=tls.certificate={place}/server.pem", f"--set=tls.key={place}/server-key.pem"]
    secure = Daemon(*pair, "--set=connections.handshake_timeout_seconds=1").__enter__()
    mutual = Daemon(*pair, f"--set=tls.client_ca={place}/ours.pem").__enter__()
    wide = Daemon("--bind=0.0.0.0").__enter__()


def finish():
    for daemon in [secure, mutual, wide]:
        daemon and daemon.__exit__()


def client(shows=None, most=None, ciphers=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(place / "ours.pem")
    if shows:
        context.load_cert_chain(place / f"{shows}.pem", place / f"{shows}-key.pem")
    if ciphers:
        context.set_ciphers(ciphers)
    if most:
        context.minimum_version = most
        context.maximum_version = most
    return context


def refused(daemon, context):
    try:
        answer = ask(daemon.http, "GET", "/v2", tls=context)
    except (ssl.SSLError, ConnectionError, AssertionError):
        return
    raise AssertionError(f"it was answered: {answer.status}")


# ---- TLS


@item("TLS", "versions before 1.2 are refused", "TLS 1.0 and 1.1 are broken and forbidden (RFC 8996)")
def old_versions():
    for version in [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]:
        refused(secure, client(most=version, ciphers="ALL:@SECLEVEL=0"))


@item("TLS", "1.2 and 1.3 are spoken", "one that nobody can speak to would be switched off")
def versions():
    for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
        assert ask(secure.http, "GET", "/v2", tls=client(most=version)).status == 200, version


@item("TLS", "weak ciphers are refused", "CBC, RC4, 3DES and RSA key exchange have known attacks")
def weak_ciphers():
    weak = "AES128-SHA:AES256-SHA:AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:DES-CBC3-SHA:NULL:@SECLEVEL=0"
    refused(secure, client(most=ssl.TLSVersion.TLSv1_2, ciphers=weak))


@item("TLS", "keys of sessions are forgotten", "who learns the certificate's key later must not read what was said before")
def forward_secrecy():
    with connect(secure.http, client(most=ssl.TLSVersion.TLSv1_2)) as stream:
        name = stream.cipher()[0]
    assert name.startswith("ECDHE") and ("GCM" in name or "CHACHA20" in name), name


@item("TLS", "plain text is not answered", "a client that forgets TLS must learn it before it shows its key twice")
def no_plain_text():
    with connect(secure.http) as stream:
        stream.sendall(b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n")
        try:
            read = stream.recv(4096)
        except ConnectionError:
            read = b""
    assert not read.startswith(b"HTTP"), read


@item("TLS", "gRPC's port speaks it, too", "one open door is enough")
def grpc():
    context = client()
    context.set_alpn_protocols(["h2"])
    with connect(secure.grpc, context) as stream:
        assert stream.selected_alpn_protocol() == "h2"


@item("TLS", "who does not shake hands is let go", "each one keeps a place")
def handshake():
    with connect(secure.http) as stream:
        assert ends(stream, 10) < 10
    lives(secure, client())


@item("TLS", "clients have to show a certificate where asked to", "without it the network says who may ask")
def no_certificate():
    refused(mutual, client())


@item("TLS", "clients' certificates of others are refused", "anybody can make an authority")
def stranger():
    refused(mutual, client("stranger"))


@item("TLS", "clients with the right certificate are served", "a check that refuses all proves nothing")
def known():
    assert ask(mutual.http, "POST", INFER, body=GOOD, tls=client("client")).status == 200


@item("TLS", "certificates that cannot be used end the start", "it must not come up without them")
def broken_certificate():
    files = [f"--set=tls.certificate={place}/server.pem", f"--set=tls.key={place}/client-key.pem"]
    ended = subprocess.run([BINARY, "daemon", "--check", *files], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2 and "does not fit" in ended.stderr, ended


# ---- access


@item("access", "it listens on this machine alone unless told otherwise", "nobody means to serve the network by default")
def loopback():
    shown = subprocess.run([BINARY, "daemon", "--print-config"], capture_output=True, text=True, timeout=60).stdout
    assert re.search(r'^bind = "127\.0\.0\.1"', shown, re.M), shown[:400]


@item("access", "models are not loaded or unloaded by whoever reaches it", "it would stop the service")
def admin():
    for path in ["/v2/repository/models/tiny_mlp/unload", "/v2/repository/models/tiny_mlp/load"]:
        answer = ask(wide.http, "POST", path, body=b"{}")
        assert answer.status in (401, 403, 501, 503), answer
    assert ask(wide.http, "POST", INFER, body=GOOD).status == 200, "the model still serves"


@item("access", "settings are not changed by whoever reaches it", "who switches logs off does not want to be seen")
def settings():
    answer = ask(wide.http, "POST", "/v2/logging", body=b'{"log_info": false}')
    assert answer.status in (401, 403, 501), answer


@item("access", "clients' shared memory is off by default", "it has the daemon read and write files that others name")
def shared_memory():
    body = json.dumps({"key": "/x", "offset": 0, "byte_size": 8}).encode()
    answer = ask(wide.http, "POST", "/v2/systemsharedmemory/region/x/register", body=body)
    assert answer.status >= 400, answer


@item("access", "with keys, nobody without one is served, and the file holds none", "that is what they are for")
def keys():
    command = [BINARY, "daemon", "key", "new", "--name", "checklist", "--tier", "all"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    key, _, entry = made.partition("\n")
    table = place / "keys.toml"
    table.write_text(f"[tiers.all]\n{entry}")
    table.chmod(0o600)
    assert key and key not in entry, "the file would hold the key itself"
    with Daemon(f"--set=access.keys_file={table}") as daemon:
        for headers in [{}, {"authorization": "Bearer wrong"}, {"x-api-key": key[:-1] + "_"}]:
            answer = ask(daemon.http, "POST", INFER, headers, GOOD)
            assert answer.status in (401, 403), f"{headers}: {answer}"
        for headers in [{"authorization": f"Bearer {key}"}, {"x-api-key": key}]:
            answer = ask(daemon.http, "POST", INFER, headers, GOOD)
            assert answer.status == 200, f"{list(headers)}: {answer}"


@item("access", "an admin's token is no flag", "every user of the machine reads the flags of all processes")
def token_flag():
    ended = subprocess.run(
        [BINARY, "daemon", "--check", "--set=access.admin_token=abcdefghijklmnopqrstuvwxyz"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2, "it was taken"


@item("access", "what is printed of the configuration holds no secret", "it is printed into tickets")
def masked():
    variables = {**os.environ, "PROOFLOAD_TELEMETRY_OTLP_ENDPOINT": "http://me:hidden-word@127.0.0.1:4317"}
    shown = subprocess.run([BINARY, "daemon", "--print-config"], capture_output=True, text=True, timeout=60, env=variables)
    assert shown.returncode == 0 and "me:***" in shown.stdout and "hidden-word" not in shown.stdout, shown.stdout[-400:]


@item("access", "a name that means nothing ends the start", "a limit with a slip of the pen would be no limit")
def unknown_keys():
    for arguments, variables in [(["--set=connections.per_adress=1"], {}), ([], {"PROOFLOAD_CONNECTIONS_PER_ADRESS": "1"})]:
        ended = subprocess.run(
            [BINARY, "daemon", "--check", *arguments], capture_output=True, timeout=60, env={**os.environ, **variables}
        )
        assert ended.returncode == 2, arguments or variables
