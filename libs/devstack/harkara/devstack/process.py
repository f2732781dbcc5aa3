"""Child processes that never outlive us, and the last lines of what they wrote."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Enough for a Java stack trace's head or a whole Python traceback, and still one screen.
LOG_TAIL_LINES = 25
# 25 lines of 2.5 KB: a log of any length costs one read of this size.
_LOG_TAIL_BYTES = 64 * 1024


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` that makes the kernel send `death_signal` to the child when we die, however we die.

    Linux only; elsewhere None, and a parent killed with SIGKILL leaves its children behind. The kernel ties the signal
    to the *thread* that forked, so spawn from a thread that lives as long as the child should: the main one.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork: the child only calls it
    parent_pid = os.getpid()

    def set_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent_pid:  # the parent died before prctl: its signal will never come
            os._exit(1)

    return set_death_signal


def log_tail(path: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log file; an empty string where there is none yet."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])
