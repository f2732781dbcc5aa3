"""A machine of two cores, laid out for one measurement: each process where it stays, and no core asleep.

On two virtual cores a scheduler moves the dispatcher's event loop about, and what it had in its caches is lost; and a
core that fell asleep between two messages takes each of them cold. `placed` gives the dispatcher's loop the first core,
the broker and the Graph API the second (the dispatcher's other threads have both), and `awake` holds both from sleeping
with loops that any other work displaces. So a service runs that has cores of its own (Kubernetes' static CPU policy).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

LOOP_CORE, OTHERS_CORE = 0, 1


@contextlib.contextmanager
def awake(cores: tuple[int, ...] = (LOOP_CORE, OTHERS_CORE)) -> Iterator[None]:
    """Hold the cores from sleeping, each by a process of the lowest class there is (Linux: SCHED_IDLE)."""
    keepers = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.placement", str(core), str(os.getpid())],
            cwd=Path(__file__).parent.parent,
            start_new_session=True,  # a scheduling group of its own, of which the least weight is asked below
        )
        for core in cores
    ]
    try:
        yield
    finally:
        for each in keepers:
            each.kill()
            each.wait()


def placed(dispatcher: int, others: Iterable[int]) -> None:
    """The dispatcher's main thread on one core, the other processes on the other; they have all started.

    A broker confined from its start would size its pools for one core, so this is done afterwards. Raises OSError.
    """
    os.sched_setaffinity(dispatcher, {LOOP_CORE})  # of this one thread: it is the event loop's
    for pid in others:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # ended meanwhile, as a JVM's do
                os.sched_setaffinity(int(thread.name), {OTHERS_CORE})


def children() -> set[int]:
    """The processes that this one has started and that run."""
    found = set[int]()
    for each in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, OSError):  # not a process, or it has ended meanwhile
            if int((each / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(each.name))
    return found


def is_keeper(pid: int) -> bool:
    """Whether the process holds a core awake."""
    return os.sched_getscheduler(pid) == os.SCHED_IDLE


def main(core: int, parent: int) -> None:
    """Keep a core from sleeping for as long as the parent lives."""
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.nice(19)  # /proc/stat shows it apart (bench/machine.py)
    with contextlib.suppress(FileNotFoundError):  # a kernel without groups by session needs none
        Path("/proc/self/autogroup").write_text("19")
    while os.getppid() == parent:
        for _ in range(1_000_000):
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
