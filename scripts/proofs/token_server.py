"""A text generator on loopback whose tokens come on schedule: OpenAI's chat completions, streamed, with its own log of
when each request came and when its first and last token were sent."""

import asyncio
import json
import random
import sys
import time

FIRST_S, GAP_S = 0.08, 0.012


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(body):
    return chunk(f"data: {body if isinstance(body, str) else json.dumps(body)}\n\n".encode())


def piece(model, choices, **more):
    return event({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices, **more})


class Generator:
    """Each answer waits once to twice FIRST_S, and then GAP_S for each further token."""

    def __init__(self, log):
        self.log = log
        self.draws = random.Random(1)

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                came = time.monotonic()
                lines = head.lower().split(b"\r\n")
                length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
                body = await reader.readexactly(length)
                if length == 0:
                    writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    continue
                await self.answer(writer, json.loads(body), came)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, writer, asked, came):
        model = asked["model"]
        count = asked.get("max_tokens") or asked.get("max_completion_tokens")
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        await asyncio.sleep(FIRST_S * (1 + self.draws.random()))
        sent = []
        for number in range(count):
            if number:
                await asyncio.sleep(GAP_S)
            sent.append(time.monotonic())
            writer.write(piece(model, [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]))
        usage = {"prompt_tokens": 200, "completion_tokens": count, "total_tokens": 200 + count}
        writer.write(piece(model, [{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        writer.write(piece(model, [], usage=usage) + event("[DONE]") + b"0\r\n\r\n")
        await writer.drain()
        row = {"ttft": sent[0] - came, "itl": (sent[-1] - sent[0]) / (count - 1), "latency": time.monotonic() - came}
        print(json.dumps(row), file=self.log, flush=True)


async def main():
    with open(sys.argv[1], "a", encoding="utf-8") as log:
        generator = Generator(log)
        server = await asyncio.start_server(generator.serve, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        async with server:
            await server.serve_forever()


asyncio.run(main())
