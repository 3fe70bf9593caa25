"""Items about what is built: dependencies, the lints that forbid what is unsafe, and secrets in the tree."""

import re
import subprocess

from harness import ROOT
from items import NotTried, item

SECRETS = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s*\n[A-Za-z0-9+/=]{32}"),
    "a key of AWS": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a token of GitHub": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
    "a token of Slack": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{20,}"),
    "a password in a URL": re.compile(r"\b[a-z]+://[A-Za-z0-9_.-]+:(?!\*)[A-Za-z0-9]{12,}@[a-z0-9.-]+\.[a-z]{2,}"),
}


def prepare(_):
    pass


def finish():
    pass


def run(*command, seconds=300):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)


def tracked():
    names = run("git", "ls-files", "-z").stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


@item("dependencies", "licences, sources and bans hold", "code from elsewhere is code that runs here")
def bans():
    ended = run("cargo", "deny", "--log-level", "error", "--offline", "check", "bans", "licenses", "sources")
    assert ended.returncode == 0, ended.stderr[-600:]


@item("dependencies", "no advisory is open", "known holes are the first that are tried")
def advisories():
    if run("timeout", "60", "cargo", "deny", "--log-level", "error", "fetch", "db").returncode:
        raise NotTried("the advisory database cannot be reached from here")
    ended = run("cargo", "deny", "--log-level", "error", "check", "advisories")
    assert ended.returncode == 0, ended.stderr[-600:]


@item("dependencies", "versions are pinned", "what is built is what was tested")
def locked():
    ended = run("cargo", "metadata", "--locked", "--offline", "--format-version", "1")
    assert ended.returncode == 0, ended.stderr[-600:]


@item("code", "unsafe code is denied, and every exception has a reason", "memory errors are most of the worst holes")
def unsafe_code():
    assert 'unsafe_code = "deny"' in (ROOT / "Cargo.toml").read_text()
    allowed = re.compile(r"allow\([^)]*unsafe_code[^)]*\)")
    for path in tracked():
        if path.suffix == ".rs":
            for found in allowed.finditer(path.read_text()):
                assert "reason" in found.group(), f"{path.relative_to(ROOT)}: {found.group()}"


@item("tree", "no secret is in it", "what was in a commit once is known for ever")
def secrets():
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for what, pattern in SECRETS.items():
            found = pattern.search(text)
            assert not found, f"{path.relative_to(ROOT)} holds {what}"


@item("tree", "no key or certificate is a file of it", "they are made where they are needed")
def key_files():
    wrong = [path.relative_to(ROOT) for path in tracked() if path.suffix in {".pem", ".key", ".p12", ".pfx", ".jks"}]
    assert not wrong, wrong
