"""What counts as the machine's standing still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.standstill import NOTICED_SECONDS, stood_still, watched

WAKES = (10.0, 10.005, 10.505, 10.51, 10.71)
"""Half a second and a fifth of one were missed."""


@pytest.mark.parametrize(
    ("since", "until", "seconds"),
    [
        (9.0, 11.0, 0.7),
        (10.105, 10.405, 0.3),  # within one gap
        (10.405, 10.61, 0.2),  # the end of one, the start of the other
        (10.505, 10.51, 0.0),
        (11.0, 12.0, 0.0),
        (10.4, 10.3, 0.0),  # the last call came before the answer
    ],
)
def test_only_what_lies_between_the_two_moments_counts(since: float, until: float, seconds: float) -> None:
    assert stood_still(WAKES, since, until) == pytest.approx(seconds)


def test_waking_a_little_late_is_not_standing_still() -> None:
    late = NOTICED_SECONDS * 0.9
    assert stood_still([0.0, late, 2 * late, 3 * late], 0.0, 1.0) == 0.0
    assert stood_still([], 0.0, 1.0) == stood_still([0.5], 0.0, 1.0) == 0.0


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
def test_a_watch_sees_that_its_machine_stood_still() -> None:
    """Of the process that is stopped: to it, nothing ran."""
    script = (
        "import sys, time; from tests.support.standstill import stood_still, watched\n"
        "with watched() as wakes:\n"
        "    since = time.time(); print(flush=True); sys.stdin.readline(); time.sleep(0.05)\n"
        "print(stood_still(wakes, since, time.time()))"
    )
    python, pipe = [sys.executable, "-c", script], subprocess.PIPE
    with subprocess.Popen(python, stdin=pipe, stdout=pipe, text=True) as one:
        assert one.stdin is not None and one.stdout is not None
        one.stdout.readline()
        os.kill(one.pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(one.pid, signal.SIGCONT)
        found, _ = one.communicate("\n", timeout=20)
    assert float(found) > 0.4
    with watched() as wakes:
        time.sleep(0.1)
    assert len(wakes) > 1 and wakes == sorted(wakes)
