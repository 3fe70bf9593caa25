"""Clients that mean no good: they drip heads and bodies, and do not read answers. Loopback only; ends when it is told to.

    slow_clients.py HOST:PORT CONNECTIONS

Prints a line of counts as JSON once a second: open connections by kind, and how often each was cut off.
"""

import asyncio
import json
import resource
import socket
import sys

# Between two bytes of a head or a body.
DRIP_S = 1.0
BODY = 10_000_000


class Crowd:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self.open = dict.fromkeys(["heads", "bodies", "readers"], 0)
        self.cut = dict.fromkeys(self.open, 0)

    async def client(self, kind):
        """One connection after the other, for ever."""
        while True:
            try:
                await self.connection(kind)
            except OSError:
                pass
            await asyncio.sleep(0.2)

    async def connection(self, kind):
        stream = socket.socket()
        stream.setblocking(False)
        # So that little is in the system's hands, and the daemon has to keep the rest.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(stream, (self.host, self.port))
        reader, writer = await asyncio.open_connection(sock=stream, limit=4096)
        self.open[kind] += 1
        try:
            await getattr(self, kind)(reader, writer)
        finally:
            self.open[kind] -= 1
            self.cut[kind] += 1
            writer.transport.abort()

    async def drip(self, reader, writer):
        while not reader.at_eof() and not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(DRIP_S)

    async def heads(self, reader, writer):
        writer.write(b"GET /v2/health/live HTTP/1.1\r\nhost: slow\r\nx-drip: ")
        await self.drip(reader, writer)

    async def bodies(self, reader, writer):
        head = f"POST /v2/models/tiny_mlp/infer HTTP/1.1\r\nhost: slow\r\ncontent-length: {BODY}\r\n\r\n"
        writer.write(head.encode())
        await self.drip(reader, writer)

    async def readers(self, reader, writer):
        """More answers than the system buffers, of which a few bytes a second are read."""
        reader._transport.pause_reading()
        for _ in range(100):
            writer.write(b"GET /metrics HTTP/1.1\r\nhost: slow\r\n\r\n")
        while not writer.is_closing():
            await asyncio.wait_for(writer.drain(), None)
            writer.write(b"GET /metrics HTTP/1.1\r\nhost: slow\r\n\r\n")
            await asyncio.sleep(DRIP_S)


async def main(address, connections):
    host, port = address.rsplit(":", 1)
    crowd = Crowd(host, int(port))
    kinds = ["heads", "bodies", "heads", "bodies", "readers"]
    tasks = []
    for index in range(connections):
        tasks.append(asyncio.create_task(crowd.client(kinds[index % len(kinds)])))
        if index % 50 == 49:
            await asyncio.sleep(0.05)
    while True:
        print(json.dumps({"open": crowd.open, "cut": crowd.cut}), flush=True)
        await asyncio.sleep(1)


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
