"""What `--placed` does to real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.placement import LOOP_CORE, OTHERS_CORE, awake, children, is_keeper, placed
from tests.support.wait import eventually

pytestmark = pytest.mark.skipif(
    not {LOOP_CORE, OTHERS_CORE} <= os.sched_getaffinity(0), reason="it lays out a machine of two cores"
)
TWO_THREADS = "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); print('x', flush=True)"


def started() -> subprocess.Popen[str]:
    """A process with two threads."""
    made = subprocess.Popen([sys.executable, "-c", TWO_THREADS], stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    assert made.stdout.readline() == "x\n"
    return made


def cores(pid: int) -> list[set[int]]:
    """Where each of its threads may run, the main one first."""
    return [os.sched_getaffinity(thread) for thread in sorted(int(e.name) for e in Path(f"/proc/{pid}/task").iterdir())]


async def test_the_loop_has_a_core_and_the_others_share_one() -> None:
    everywhere = os.sched_getaffinity(0)
    with started() as dispatcher, started() as broker, awake():
        try:
            await eventually(lambda: sum(is_keeper(pid) for pid in children()) == 2, timeout_seconds=30)
            placed(dispatcher.pid, [broker.pid])
            assert cores(dispatcher.pid) == [{LOOP_CORE}, everywhere]
            assert cores(broker.pid) == [{OTHERS_CORE}, {OTHERS_CORE}]
            assert sorted(map(str, (os.sched_getaffinity(p) for p in children() if is_keeper(p)))) == ["{0}", "{1}"]
            assert os.sched_getaffinity(0) == everywhere
        finally:
            dispatcher.kill()
            broker.kill()
    assert not any(is_keeper(pid) for pid in children())
