"""What the kernel saw: how long requests over HTTP/1.1 took on the wire of this machine, whoever sent them. A judge
between two clients that is neither of them. Needs the right to open raw sockets (root, or CAP_NET_RAW)."""

import ctypes
import select
import socket
import struct
import threading

ETH_P_ALL = 3
SO_ATTACH_FILTER = 26
SO_TIMESTAMPNS = 35
PACKET_OUTGOING = 4
ETHERNET = 14


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


def _only(port):
    """A packet filter: TCP over IPv4 from or to this port. As `tcpdump -dd` would write it."""
    code = [
        (0x28, 0, 0, 12),  # what the frame carries
        (0x15, 0, 8, 0x0800),  # IPv4
        (0x30, 0, 0, 23),
        (0x15, 0, 6, 6),  # TCP
        (0xB1, 0, 0, ETHERNET),  # length of the IP header
        (0x48, 0, 0, ETHERNET),  # source port
        (0x15, 2, 0, port),
        (0x48, 0, 0, ETHERNET + 2),  # destination port
        (0x15, 0, 1, port),
        (0x06, 0, 0, 128),  # keep the heads
        (0x06, 0, 0, 0),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in code), len(code)


class Wire:
    """Watches one port on loopback while the block lasts. One request at a time on a connection, as in HTTP/1.1."""

    def __init__(self, port):
        self.port = port
        # Of each client port: when its request began, and when the last byte of the answer so far came.
        self.began, self.answered = {}, {}
        self.latencies_ns = []

    def __enter__(self):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        text, length = _only(self.port)
        buffer = ctypes.create_string_buffer(text)
        program = _Program(length, ctypes.cast(buffer, ctypes.c_void_p))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(program))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self.socket.bind(("lo", 0))
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()
        self.socket.close()
        for client in list(self.answered):
            self._end(client)

    def _watch(self):
        while not self.ending.is_set():
            if select.select([self.socket], [], [], 0.2)[0]:
                self._packet(*self.socket.recvmsg(256, 64))

    def _packet(self, data, ancillary, _flags, address):
        # Loopback shows every packet twice: once as it leaves.
        if address[2] == PACKET_OUTGOING or not ancillary:
            return
        seconds, nanoseconds = struct.unpack("ll", ancillary[0][2][:16])
        ip = data[ETHERNET:]
        tcp = ip[(ip[0] & 15) * 4 :]
        source, destination = struct.unpack("!HH", tcp[:4])
        payload = struct.unpack("!H", ip[2:4])[0] - (ip[0] & 15) * 4 - (tcp[12] >> 4) * 4
        if payload > 0:
            self._bytes(source, destination, seconds * 1_000_000_000 + nanoseconds)

    def _bytes(self, source, destination, at_ns):
        if source == self.port:
            self.answered[destination] = at_ns
            return
        # The first bytes after an answer begin the next request.
        if source in self.answered or source not in self.began:
            self._end(source)
            self.began[source] = at_ns

    def _end(self, client):
        began, answered = self.began.get(client), self.answered.pop(client, None)
        if began is not None and answered is not None:
            self.latencies_ns.append(answered - began)

    def mean_ms(self):
        return sum(self.latencies_ns) / len(self.latencies_ns) / 1e6
