"""The supervisor's end of the fork server: start a service by name, and a handle like asyncio's for each."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson

from harkara.devstack.errors import DevstackError
from harkara.devstack.forkserver import Order, Report
from harkara.devstack.process import die_with_parent


class ForkedProcess:
    """A service that the fork server started; the same few words as `asyncio.subprocess.Process`."""

    def __init__(self, server: ForkServer, instance: str, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server
        self._instance = instance
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        """The exit status; negative: the signal that ended it."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended."""
        if self.returncode is None:
            self._server.signal(self._instance, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def end(self, status: int) -> None:
        """It has ended so."""
        self.returncode = status
        self._ended.set()


class ForkServer:
    """`open` it early: it imports while Kafka boots. Where it has died, so have its children, and it is opened anew."""

    def __init__(self, log_file: Path) -> None:
        self._log_file = log_file
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting: dict[str, asyncio.Future[ForkedProcess]] = {}
        self._running: dict[str, ForkedProcess] = {}

    async def open(self) -> None:
        """Start the process; what it imports, it imports from now on."""
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "harkara.devstack.forkserver",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        self._reader = asyncio.create_task(self._read(self._process), name="fork server")

    async def start(self, instance: str, service: str, env: Mapping[str, str], log_file: Path) -> ForkedProcess:
        """Fork that service. Raises DevstackError where the fork server has died."""
        if self._process is None or self._process.returncode is not None:
            await self.open()
        self._starting[instance] = asyncio.get_running_loop().create_future()
        self._order({
            "order": "start", "instance": instance, "service": service,
            "env": dict(env), "log_file": str(log_file), "signal": 0,
        })  # fmt: skip
        return await self._starting[instance]

    def signal(self, instance: str, number: int) -> None:
        """Send it, where the instance still runs."""
        self._order({
            "order": "signal", "instance": instance, "service": "", "env": {}, "log_file": "", "signal": int(number),
        })  # fmt: skip

    async def close(self) -> None:
        """End it; a child that were still there would end with it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        if self._reader is not None:
            await self._reader

    def _order(self, order: Order) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(order, option=orjson.OPT_APPEND_NEWLINE))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._heard(orjson.loads(line))
        await process.wait()
        for forked in self._running.values():
            forked.end(-signal.SIGKILL)  # the kernel ends the children of a dead fork server
        self._running.clear()
        for waiting in self._starting.values():
            waiting.set_exception(DevstackError(f"the fork server has ended; see {self._log_file}"))
        self._starting.clear()

    def _heard(self, report: Report) -> None:
        instance = report["instance"]
        if report["report"] == "started":
            forked = self._running[instance] = ForkedProcess(self, instance, report["pid"])
            self._starting.pop(instance).set_result(forked)
        else:
            self._running.pop(instance).end(report["status"])


def can_fork() -> bool:
    """Linux only: elsewhere a forked child cannot be bound to its parent's life, and macOS' libraries forbid forks."""
    return sys.platform == "linux"
