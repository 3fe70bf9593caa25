"""The list that the items put themselves into, and ways to talk to the daemon that no client library would allow."""

import json
import socket
import ssl
import time
from typing import Callable, NamedTuple

PATIENCE_S = 20
ITEMS = []


class NotTried(Exception):
    """What has to be checked cannot be checked here."""


class Item(NamedTuple):
    group: str
    name: str
    reason: str
    check: Callable


def item(group, name, reason):
    """Puts a check into the list."""

    def add(check):
        ITEMS.append(Item(group, name, reason, check))
        return check

    return add


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


def connect(address, tls=None, name="localhost"):
    host, port = address.rsplit(":", 1)
    stream = socket.create_connection((host, int(port)), PATIENCE_S)
    return tls.wrap_socket(stream, server_hostname=name) if tls else stream


def read_to_end(stream):
    """All that comes until the other side closes, however it does."""
    read = b""
    while True:
        try:
            piece = stream.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return read
        if not piece:
            return read
        read += piece


def raw(address, request, tls=None):
    """Sends bytes, and reads the answer as HTTP/1.1."""
    with connect(address, tls) as stream:
        try:
            stream.sendall(request)
        except ConnectionError:
            pass  # The answer may have come before all was sent.
        read = read_to_end(stream)
    assert read, "the connection was closed without an answer"
    head, _, body = read.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return Answer(int(first.split()[1]), headers, body)


def ask(address, method, path, headers=None, body=b"", tls=None):
    """One request over a connection of its own."""
    head = {"host": address, "connection": "close", "content-length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return raw(address, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body, tls)


def lives(daemon, tls=None):
    """The daemon still answers others."""
    status = ask(daemon.http, "GET", "/v2/health/live", tls=tls).status
    assert status == 200, f"the daemon does not live any more: {status}"


def ends(stream, within=PATIENCE_S):
    """The other side closes the connection in time."""
    begun = time.monotonic()
    stream.settimeout(within)
    try:
        read_to_end(stream)
    except TimeoutError:
        raise AssertionError(f"the connection is still open after {within} s") from None
    return time.monotonic() - begun


def counted(daemon, name, label=""):
    """The value of a counter of the daemon; 0 if there is none."""
    for line in ask(daemon.http, "GET", "/metrics").body.decode().splitlines():
        if line.startswith(name) and label in line:
            return float(line.rsplit(" ", 1)[1])
    return 0.0
