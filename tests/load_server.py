"""An HTTP server of known behaviour in a process of its own: the truth that load tests are held against.

    /delay?ms=50             answers after that time
    /stall?every=2&for=0.2   freezes for the last part of each period, counted from the first request
    /capped?rate=50          one place: each answer takes 1/rate, the others stand in line
    /hang                    never answers
    /status?code=500         that status
    /count                   how many requests it has had of these since it was asked last

Run: `python load_server.py`, which prints its port.
"""

import asyncio
import sys
import time
from urllib.parse import parse_qs, urlsplit


class Behaviour:
    def __init__(self):
        self.count = 0
        self.began = None
        self.free_at = 0.0

    def due(self, path, query, now):
        """When to answer a request of `now`; None = never."""
        match path:
            case "/delay":
                return now + query["ms"] / 1000
            case "/stall":
                self.began = now if self.began is None else self.began
                phase = (now - self.began) % query["every"]
                return now + max(0.0, query["every"] - phase) if phase >= query["every"] - query["for"] else now
            case "/capped":
                self.free_at = max(now, self.free_at) + 1 / query["rate"]
                return self.free_at
            case "/hang":
                return None
        return now


class Connection(asyncio.Protocol):
    def __init__(self, behaviour):
        self.behaviour = behaviour
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self.request(urlsplit(head.split()[1].decode()))

    def request(self, url):
        query = {name: float(values[0]) for name, values in parse_qs(url.query).items()}
        if url.path == "/count":
            self.answer(str(self.behaviour.count), 200)
            self.behaviour.__init__()
            return
        self.behaviour.count += 1
        now = time.monotonic()
        due = self.behaviour.due(url.path, query, now)
        status = int(query.get("code", 200))
        if due is not None and due <= now:
            self.answer("here", status)
        elif due is not None:
            loop = asyncio.get_running_loop()
            loop.call_at(loop.time() + due - now, self.answer, "here", status)

    def answer(self, text, status):
        if not self.transport.is_closing():
            self.transport.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


async def main():
    behaviour = Behaviour()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(behaviour), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until whoever started it goes away


if __name__ == "__main__":
    asyncio.run(main())
