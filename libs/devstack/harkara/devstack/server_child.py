"""The process of an embedded server: one at a time, its output in a log, awaited until it serves, stopped or killed."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harkara.devstack.errors import StartFailedError
from harkara.devstack.process import die_with_parent, log_tail

_POLL_INTERVAL_SECONDS = 0.02


class ServerChild:
    """`name` is what messages call it, `directory` where its data is, `log_file` takes all that it writes.

    `last_words` is the signal that the kernel sends when this process ends, however it ends; None: it is left running.
    """

    def __init__(self, name: str, directory: Path, log_file: Path, last_words: signal.Signals | None) -> None:
        self._name = name
        self._directory = directory
        self._log_file = log_file
        self._last_words = last_words
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process's, once spawned and until stopped; a killed one's too."""
        return None if self._process is None else self._process.pid

    def refuse_second(self) -> None:
        """Raises StartFailedError while it runs."""
        if self._process is not None and self._process.poll() is None:
            raise StartFailedError(f"{self._name} in {self._directory} is already running (pid {self._process.pid}).")

    def spawn(self, command: Sequence[str], *, folder: Path, user: str | None = None) -> None:
        """Start it in `folder`, as another system user where one is named, and return at once."""
        as_user: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own arguments, no shell
                list(command),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we stop the servers last, in order
                # runs after the change of user, which would clear it
                preexec_fn=None if self._last_words is None else die_with_parent(self._last_words),  # noqa: PLW1509  one prctl
                **as_user,
            )

    def wait_ready(self, serves: Callable[[int], bool], timeout_seconds: float) -> None:
        """Return once `serves(pid)`; past the deadline kill it. Raises StartFailedError with its last log lines."""
        assert self._process is not None, "spawn() first"
        deadline = time.monotonic() + timeout_seconds
        while not serves(self._process.pid):
            status = self._process.poll()
            if status is not None:
                raise StartFailedError(f"{self._name} ended with status {status} while starting; {self._last_lines()}")
            if time.monotonic() > deadline:
                self.kill()
                raise StartFailedError(
                    f"{self._name} did not serve within {timeout_seconds:.0f} s; {self._last_lines()}"
                )
            time.sleep(_POLL_INTERVAL_SECONDS)

    def stop(self, by: signal.Signals, timeout_seconds: float) -> int | None:
        """The signal, then SIGKILL at the deadline; its status, or None where it was not spawned."""
        if self._process is None:
            return None
        self._process.send_signal(by)
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        status = self._process.returncode
        self._process = None
        return status

    def kill(self) -> None:
        """SIGKILL: what a crash looks like. It may be spawned again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _last_lines(self) -> str:
        return f"the last lines of {self._log_file}:\n{log_tail(self._log_file)}"
