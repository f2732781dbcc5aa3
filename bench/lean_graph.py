"""A Graph API that only answers, for benchmarks: the simulator's checks would be what is measured.

    python -m bench.lean_graph PORT --latency 0.06             # every send is accepted after 60 ms
    python -m bench.lean_graph PORT --latency 0.06 --limit 80  # the 81st send of a number within a second: 130429

`GET /counts` says what came: {accepted, refused, doubled, most_under_way, most_in_a_second, numbers: {number:
accepted}}. `doubled` are sends whose callback data came before. `GET /arrived/FROM/UNTIL` says how many of the accepted
came within a stretch of time (monotonic seconds): {arrived}, the mean of all stretches of that length that begin within
the second after FROM. Of one alone a pause of 40 ms at its edge would take or give what goes by in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from array import array
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
OPAQUE = re.compile(rb'"biz_opaque_callback_data": ?"([^"]+)"')
EDGE_SECONDS = 1.0
TOO_FAST = json.dumps(
    {"error": {"message": "(#130429) Rate limit hit", "type": "OAuthException", "code": 130429, "fbtrace_id": "A"}}
).encode()


@dataclass
class Ledger:
    """What was asked. `limit`: sends of one number in any second, 0 for no limit."""

    limit: int = 0
    numbers: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    doubled: int = 0
    under_way: int = 0
    most_under_way: int = 0
    most_in_a_second: int = 0
    opaques: set[bytes] = field(default_factory=set)
    lately: dict[str, deque[float]] = field(default_factory=dict)
    arrivals: array[float] = field(default_factory=lambda: array("d"))
    clock: Callable[[], float] = time.monotonic

    def takes(self, number: str, body: bytes) -> bool:
        """Whether the send is within its number's limit; then it is written down."""
        now = self.clock()
        times = self.lately.setdefault(number, deque())
        while times and times[0] <= now - 1.0:
            times.popleft()
        if self.limit and len(times) >= self.limit:
            self.refused += 1
            return False
        times.append(now)
        self.most_in_a_second = max(self.most_in_a_second, len(times))
        self.numbers[number] += 1
        self.arrivals.append(now)
        opaque = OPAQUE.search(body)
        if opaque is not None:
            self.doubled += opaque[1] in self.opaques
            self.opaques.add(opaque[1])
        return True

    def arrived(self, begin: float, end: float) -> bytes:
        """The answer of `/arrived`: asked for a second after `end` at the earliest."""
        found = self.arrivals[bisect_left(self.arrivals, begin) : bisect_left(self.arrivals, end + EDGE_SECONDS)]
        counted = sum(min(1.0, (at - begin) / EDGE_SECONDS, (end - at) / EDGE_SECONDS + 1.0) for at in found)
        return json.dumps({"arrived": counted}).encode()

    def shown(self) -> bytes:
        """The answer of `/counts`."""
        return json.dumps(
            {
                "accepted": self.numbers.total(),
                "refused": self.refused,
                "doubled": self.doubled,
                "most_under_way": self.most_under_way,
                "most_in_a_second": self.most_in_a_second,
                "numbers": self.numbers,
            }
        ).encode()


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests are answered in turn, each after the latency."""

    def __init__(self, ledger: Ledger, latency_seconds: float) -> None:
        self._ledger = ledger
        self._latency_seconds = latency_seconds
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._read, 0, end + 2)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._read) < whole:
                return
            target = self._read[: self._read.find(b"\r\n")].split(b" ")[1]
            self._asked(target.decode(), self._read[end + 4 : whole])
            self._read = self._read[whole:]

    def _asked(self, target: str, body: bytes) -> None:
        ledger = self._ledger
        if target == "/counts":
            self._answer(b"200 OK", ledger.shown())
            return
        if target.startswith("/arrived/"):
            begin, end = target.split("/")[2:]
            self._answer(b"200 OK", ledger.arrived(float(begin), float(end)))
            return
        number = target.split("/")[-2]
        if ledger.takes(number, body):
            wamid = f"wamid.LEAN{ledger.numbers[number]:09}{number}"
            reply = b"200 OK", json.dumps({"messaging_product": "whatsapp", "messages": [{"id": wamid}]}).encode()
        else:
            reply = b"400 Bad Request", TOO_FAST
        ledger.under_way += 1
        ledger.most_under_way = max(ledger.most_under_way, ledger.under_way)
        asyncio.get_running_loop().call_later(self._latency_seconds, self._answer_send, *reply)

    def _answer_send(self, status: bytes, body: bytes) -> None:
        self._ledger.under_way -= 1
        self._answer(status, body)

    def _answer(self, status: bytes, body: bytes) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(head % (status, len(body)) + body)


async def serve(port: int, ledger: Ledger, latency_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(ledger, latency_seconds), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--latency", type=float, default=0.06)
    parser.add_argument("--limit", type=int, default=0)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, Ledger(arguments.limit), arguments.latency))


if __name__ == "__main__":
    main()
