"""A process whose service has stopped ends, whatever its threads do."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import threading
from harkara.runtime.serve import leave

threading.Thread(target=threading.Event().wait, args=({seconds},), name="lane_0").start()
leave(3)
"""


@pytest.mark.parametrize(("seconds", "left"), [("0.2", False), ("None", True)], ids=["ending", "held for ever"])
def test_a_thread_that_is_held_keeps_no_process(seconds: str, left: bool) -> None:
    program = [sys.executable, "-c", PROGRAM.format(seconds=seconds)]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3, ended.stderr
    assert ("left_threads_behind" in ended.stdout + ended.stderr) is left and ("lane_0" in ended.stdout) is left
