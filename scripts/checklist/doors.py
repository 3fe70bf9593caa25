"""Items about what comes through the doors: headers, web pages, limits, slow clients, malformed requests."""

import gzip
import json
import struct
import threading
import time
import zlib

from harness import Daemon
from items import ask, connect, counted, ends, item, lives, raw

INFER = "/v2/models/tiny_mlp/infer"
GOOD = json.dumps({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 16], "data": [0.5] * 16}]}).encode()
LIMIT = 1 << 20
# Short, so that the list is gone through in a minute; the defaults are in daemon.example.toml.
SHORT = [
    "connections.header_timeout_seconds=1",
    "connections.idle_timeout_seconds=3",
    "connections.body_timeout_seconds=1",
    "connections.write_timeout_seconds=1",
    "connections.header_bytes=16384",
    f"server.max_body_bytes={LIMIT}",
]
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"

plain = web = None


def prepare(_):
    global plain, web
    plain = Daemon(*(f"--set={setting}" for setting in SHORT)).__enter__()
    web = Daemon("--set=cors.origins=https://app.example.com", "--set=connections.per_address=4").__enter__()


def finish():
    for daemon in [plain, web]:
        daemon and daemon.__exit__()


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


# ---- headers


@item("headers", "every answer says nosniff", "a browser must not guess that tensors or metrics are a script")
def nosniff():
    for method, path in [("GET", "/v2"), ("GET", "/metrics"), ("GET", "/nowhere"), ("POST", INFER), ("PUT", "/v2")]:
        answer = ask(plain.http, method, path, body=GOOD if method == "POST" else b"")
        assert answer.headers.get("x-content-type-options") == "nosniff", f"{path}: {answer.headers}"


@item("headers", "answers are not stored on the way", "an answer is of one caller's data")
def no_store():
    for method, path, body in [("POST", INFER, GOOD), ("GET", "/v2/models/stats", b"")]:
        assert "no-store" in ask(plain.http, method, path, body=body).headers.get("cache-control", ""), path


@item("headers", "no answer names the software behind it", "a version is an invitation to look up its holes")
def nameless():
    for path in ["/v2", "/nowhere", "/metrics"]:
        said = ask(plain.http, "GET", path).headers
        assert not {"server", "x-powered-by", "via"} & set(said), said


@item("headers", "errors are JSON, whatever was asked for", "a path that is echoed as a page runs as a script")
def json_errors():
    answer = ask(plain.http, "GET", "/<script>alert(1)</script>", {"accept": "text/html"})
    assert answer.status in (400, 404) and "html" not in answer.headers.get("content-type", ""), answer


@item("headers", "pages have a content security policy", "what a page may load has to be said, or it may load all")
def policy():
    for path in ["/", "/docs", "/dashboard"]:
        answer = ask(plain.http, "GET", path)
        if not answer.headers.get("content-type", "").startswith("text/html"):
            assert answer.status in (404, 405) or not answer.body.lstrip().startswith(b"<"), f"{path}: {answer}"
            continue
        said = answer.headers.get("content-security-policy", "")
        assert "default-src" in said and "frame-ancestors 'none'" in said, f"{path}: {said}"
        assert "unsafe-eval" not in said and "script-src 'unsafe-inline'" not in said, f"{path}: {said}"


@item("headers", "TRACE and unknown verbs are refused", "TRACE gives headers back to whoever made a browser ask")
def verbs():
    for verb in ["TRACE", "TRACK", "BREW"]:
        assert ask(plain.http, verb, "/v2").status in (400, 405, 501), verb


# ---- web pages


@item("web pages", "none of another origin is answered by default", "a page that somebody reads could ask localhost")
def no_cors():
    answer = ask(plain.http, "POST", INFER, {"origin": "https://evil.example.com"}, GOOD)
    assert answer.status == 403 and "access-control-allow-origin" not in answer.headers, answer


@item("web pages", "none of another origin changes anything", "simple requests are sent without asking first")
def no_forgery():
    for path in ["/v2/repository/models/tiny_mlp/unload", "/v2/logging"]:
        answer = ask(plain.http, "POST", path, {"origin": "https://evil.example.com", "content-type": "text/plain"}, b"{}")
        assert answer.status == 403, answer


@item("web pages", "origins are compared exactly", "a suffix or a prefix of a name is somebody else's name")
def exact_origin():
    allowed = ask(web.http, "POST", INFER, {"origin": "https://app.example.com"}, GOOD)
    assert allowed.status == 200 and allowed.headers["access-control-allow-origin"] == "https://app.example.com", allowed
    for origin in ["https://app.example.com.evil.com", "https://evilapp.example.com", "http://app.example.com", "null"]:
        answer = ask(web.http, "POST", INFER, {"origin": origin}, GOOD)
        assert answer.status == 403 and "access-control-allow-origin" not in answer.headers, f"{origin}: {answer}"


@item("web pages", "answers say that they depend on the origin", "a cache would show one page what another may see")
def vary():
    assert "origin" in ask(web.http, "GET", "/v2").headers.get("vary", "")


# ---- limits


@item("limits", "a body that is too large is refused by its announced length", "it must not be read first")
def announced():
    answer = raw(plain.http, f"POST {INFER} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {1 << 40}\r\n\r\n".encode())
    assert answer.status == 413, answer


@item("limits", "a body that grows too large is refused", "chunks announce no length")
def chunked():
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    assert raw(plain.http, head + chunk * 20 + b"0\r\n\r\n").status == 413


@item("limits", "compressed bombs are refused by what they would be", "a megabyte of zeroes is a kilobyte of gzip")
def bombs():
    zeroes = b" " * (64 << 20)
    for coding, body in [("gzip", gzip.compress(zeroes)), ("deflate", zlib.compress(zeroes))]:
        answer = ask(plain.http, "POST", INFER, {"content-encoding": coding}, body)
        assert answer.status == 413, f"{coding}: {answer}"


@item("limits", "a head that is too large is refused", "heads are kept whole until they end")
def large_head():
    assert ask(plain.http, "GET", "/v2", {"x-large": "x" * 40_000}).status == 431


@item("limits", "a picture is refused by its dimensions", "a few bytes of PNG may say that they are a billion pixels")
def picture_bomb():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    answer = ask(plain.http, "POST", "/api/v1/generate-3d?format=stl", {"content-type": "image/png"}, png)
    assert 400 <= answer.status < 500, answer


@item("limits", "shapes that overflow are refused", "a product of dimensions that wraps is a small number")
def overflow():
    for shape in [[1 << 62, 4], [-1, 16], [1 << 32, 1 << 32]]:
        body = json.dumps({"inputs": [{"name": "input", "datatype": "FP32", "shape": shape, "data": [0.5] * 16}]})
        assert ask(plain.http, "POST", INFER, body=body.encode()).status == 400, shape


@item("limits", "deep nesting is refused", "a parser that follows it needs a stack as deep")
def nesting():
    assert ask(plain.http, "POST", INFER, body=b"[" * 500_000).status == 400
    lives(plain)


@item("limits", "connections of one address are bounded where asked", "one machine must not take all places")
def per_address():
    held = [connect(web.http) for _ in range(4)]
    try:
        assert ends(connect(web.http), 5) < 5
    finally:
        for stream in held:
            stream.close()


# ---- slow clients


def dripping(head, reason):
    """A connection that sends this, and then a byte now and then, is closed; what it was answered."""
    before = counted(plain, "proofload_connections_cut_total", reason) if reason else 0
    with connect(plain.http) as stream:
        stream.sendall(head)
        stop = threading.Event()

        def drip():
            while not stop.wait(0.2):
                try:
                    stream.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        stream.settimeout(15)
        read = b""
        try:
            while piece := stream.recv(65536):
                read += piece
        except ConnectionError:
            pass
        finally:
            stop.set()
    if reason:
        assert counted(plain, "proofload_connections_cut_total", reason) > before, f"nothing was cut off for {reason}"
    return read


@item("slow clients", "a head that drips is cut off", "each one keeps a place")
def slow_head():
    dripping(b"GET /v2 HTTP/1.1\r\nx-drip: ", "slow_head")


@item("slow clients", "a body that drips is answered and given up", "it keeps its share of the memory for bodies")
def slow_body():
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100000\r\n\r\n"
    assert b" 408 " in dripping(head.encode(), None)


@item("slow clients", "who says nothing is let go", "each one keeps a place")
def silence():
    with connect(plain.http) as stream:
        assert ends(stream, 10) < 10


@item("slow clients", "who does not read is cut off", "answers stay in memory until they are read")
def slow_reader():
    before = counted(plain, "proofload_connections_cut_total", "slow_reader")
    with connect(plain.http) as stream:
        stream.settimeout(0.5)
        begun = time.monotonic()
        while counted(plain, "proofload_connections_cut_total", "slow_reader") == before:
            assert time.monotonic() - begun < 20, "it is still open"
            try:
                stream.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 500)
            except OSError:
                time.sleep(0.1)


# ---- HTTP


@item("HTTP/2", "a flood of resets ends the connection", "each one costs us more than them (CVE-2023-44487)")
def rapid_reset():
    with connect(plain.http) as stream:
        flood = HTTP2
        for number in range(1, 4001, 2):
            flood += frame(1, 4, number, b"\x83\x86\x84") + frame(3, 0, number, struct.pack(">I", 8))
        try:
            stream.sendall(flood)
        except ConnectionError:
            pass
        ends(stream, 10)
    lives(plain)


@item("HTTP/2", "a head without an end ends the connection", "continuations cost memory for ever (CVE-2024-27316)")
def continuation():
    with connect(plain.http) as stream:
        try:
            stream.sendall(HTTP2 + frame(1, 0, 1, b"\x82\x86\x84"))
            for _ in range(2000):
                stream.sendall(frame(9, 0, 1, b"\x00\x01a\x7f\x81\x07" + b"a" * 264))
        except ConnectionError:
            pass
        ends(stream, 10)
    lives(plain)


@item("HTTP/2", "a window that stays closed ends the connection", "answers stay in memory until they are read")
def closed_window():
    before = counted(plain, "proofload_connections_cut_total", "slow_reader")
    with connect(plain.http) as stream:
        settings = frame(4, 0, 0, struct.pack(">HI", 4, 0))
        metrics = frame(1, 5, 1, b"\x82\x86\x04\x08/metrics")
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + frame(4, 1, 0, b"") + metrics)
        ends(stream, 10)
    assert counted(plain, "proofload_connections_cut_total", "slow_reader") > before


@item("HTTP/1.1", "lengths that contradict each other are refused", "two readers of one request see two (smuggling)")
def smuggling():
    two = b"POST /v2/models/tiny_mlp/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde"
    assert raw(plain.http, two).status == 400
    both = b"POST /v2/models/tiny_mlp/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"
    with connect(plain.http) as stream:
        stream.sendall(both)
        stream.settimeout(6)
        try:
            read = stream.recv(1 << 20)
        except TimeoutError:
            read = b""
    assert b"nv_inference" not in read, "what one reader takes for a body was answered as a request"


@item("HTTP/1.1", "paths do not leave their folder", "a name that climbs is a name of another file")
def traversal():
    for path in ["/../../../../etc/passwd", "/v2/models/..%2f..%2fetc%2fpasswd", "/api/v1/%2e%2e/%2e%2e/etc/passwd"]:
        answer = ask(plain.http, "GET", path)
        assert answer.status in (400, 404, 405) and b"root:" not in answer.body, f"{path}: {answer}"
