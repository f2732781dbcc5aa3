"""System calls of a traced process: strace's command line, and what its log says of where the process died.

strace counts an injected call per thread, so `when=N` kills at the N-th call of whichever thread gets there first. The
points that can be reached this way are therefore the calls that no thread had made so often before: the front.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

CALLS = ("sendto", "sendmsg", "write", "writev", "recvfrom", "recvmsg", "read")
ATTACH_SECONDS = 10.0
HOLD_MICROSECONDS = 3_000  # the harness needs about one to read the log and to kill
MISSING = "strace was not found: install it (Debian, Ubuntu: apt-get install strace)"
FORBIDDEN = "strace may not attach to a process here ({}): run as root, or sysctl kernel.yama.ptrace_scope=0"

_LINE = re.compile(r"^(?P<thread>\d+)\s+(?P<call>\w+)\((?P<descriptor>\d+)(?:<(?P<what>.*?)>)?(?=[,)])")
_PEER = re.compile(r"->(?:[\d.]+|\[[^\]]*\]):(?P<port>\d+)\]")


@dataclass(frozen=True, slots=True)
class Call:
    """The `nth` call of this name by the first thread that makes so many; `peer` is the far side's port, or None."""

    name: str
    nth: int
    peer: int | None = None


async def why_not() -> str | None:
    """What is missing for deaths at system calls, in a sentence; None where strace can be used."""
    if shutil.which("strace") is None:
        return MISSING
    patient = await asyncio.create_subprocess_exec("sleep", str(ATTACH_SECONDS))
    try:
        tracer = await attach(patient.pid, "-o", os.devnull)
    except NotAttached as error:
        return FORBIDDEN.format(error)
    finally:
        patient.kill()
        await patient.wait()
    await tracer.wait()
    return None


class NotAttached(Exception):
    """strace did not get hold of the process; its own words."""


async def attach(pid: int, *options: str) -> asyncio.subprocess.Process:
    """strace on that process and whatever threads it will start; returns once it holds it. Without an option for a
    file its log comes by its standard error."""
    # --seccomp-bpf would be faster, but a signal injected at its kind of stop is not delivered
    command = ("strace", "-f", "-yy", "-s", "0", "-e", "signal=none", *options, "-p", str(pid))
    tracer = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert tracer.stderr is not None
    said = await asyncio.wait_for(tracer.stderr.readline(), ATTACH_SECONDS)
    if b"attached" not in said:
        await tracer.wait()
        raise NotAttached(said.decode().strip())
    return tracer


def all_calls() -> tuple[str, ...]:
    """strace's options to log every call of CALLS."""
    return ("-e", f"trace={','.join(CALLS)}")


def kill_before(name: str, nth: int) -> tuple[str, ...]:
    """strace's options for SIGKILL before the `nth` call of that name happens, with a log of these calls."""
    return ("-e", f"trace={name}", "-e", f"inject={name}:signal=SIGKILL:when={nth}")


def slowed(name: str) -> tuple[str, ...]:
    """strace's options to hold each call of that name for a moment before it happens: time enough to kill there."""
    return ("-e", f"trace={name}", "-e", f"inject={name}:delay_enter={HOLD_MICROSECONDS}")


async def begun(tracer: asyncio.subprocess.Process, port: int, nth: int) -> bool:
    """Whether so many of the calls that a `slowed` tracer shows have begun on sockets to that port; returns in the
    moment of the last one, or at the tracer's end."""
    assert tracer.stderr is not None
    marker, seen, count = f":{port}]>".encode(), b"", 0
    while count < nth:
        chunk = await tracer.stderr.read(65_536)
        if not chunk:
            return False
        seen = seen[-len(marker) + 1 :] + chunk
        count += seen.count(marker)
    return True


def calls(lines: Iterable[str]) -> Iterator[tuple[str, str, int | None]]:
    """(thread, call, peer) of each call that begins in the log."""
    for line in lines:
        found = _LINE.match(line)
        if found is not None:  # else the end of a call that was interrupted in the log, or of a thread
            peer = _PEER.search(found["what"] or "")
            yield found["thread"], found["call"], int(peer["port"]) if peer else None


def front(lines: Iterable[str]) -> Iterator[Call]:
    """Every call that is the first of its number, in the order of the log."""
    made: Counter[tuple[str, str]] = Counter()
    most: Counter[str] = Counter()
    for thread, name, peer in calls(lines):
        made[(thread, name)] += 1
        if made[(thread, name)] > most[name]:
            most[name] = made[(thread, name)]
            yield Call(name, most[name], peer)


def reached(lines: Iterable[str], name: str, nth: int) -> Call | None:
    """The call at which the process died, or None where no thread made it so often."""
    return next((call for call in front(lines) if call.name == name and call.nth == nth), None)
