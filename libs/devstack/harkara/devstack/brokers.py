"""Which Kafka and which Postgres: one that is named, else Docker's, else our own child process."""

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from harkara.devstack.docker_servers import docker_answers, docker_kafka, docker_postgres
from harkara.devstack.errors import StartFailedError
from harkara.devstack.kafka_server import EmbeddedKafka
from harkara.devstack.ports import NamedPort
from harkara.devstack.postgres_server import EmbeddedPostgres

KAFKA_VARIABLE = "HARKARA_KAFKA_BOOTSTRAP"
POSTGRES_VARIABLE = "HARKARA_POSTGRES_DSN"
_CONNECT_TIMEOUT_SECONDS = 3.0


class Server(Protocol):
    """A Kafka (`address` is its bootstrap) or a Postgres (`address` is a DSN) that may have to be started.

    `prepare` does what takes long (jars, images, initdb) and blocks; `spawn` returns at once and must be called in a
    thread that lives as long as the server should; `wait_ready` blocks. All raise DevstackError, or the container
    engine's own error. `ports` are those it will listen on.
    """

    @property
    def address(self) -> str: ...

    @property
    def ports(self) -> tuple[NamedPort, ...]: ...

    def prepare(self) -> None: ...

    def spawn(self) -> None: ...

    def wait_ready(self) -> None: ...

    def stop(self) -> None: ...


class ExternalServer:
    """Someone else's: nothing to start, nothing to stop."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.ports: tuple[NamedPort, ...] = ()

    def prepare(self) -> None:
        """Nothing to prepare."""

    def spawn(self) -> None:
        """Nothing to do."""

    def wait_ready(self) -> None:
        """Nothing to wait for."""

    def stop(self) -> None:
        """Not ours to stop."""


class ExternalKafka(ExternalServer):
    """Checked for a listener, so that a wrong address is one sentence and not ten services' stack traces."""

    def wait_ready(self) -> None:
        """Raises StartFailedError where no bootstrap server takes a TCP connection."""
        for server in self.address.split(","):
            host, _, port = server.strip().rpartition(":")
            with contextlib.suppress(OSError, ValueError):
                socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_SECONDS).close()
                return
        raise StartFailedError(f"Nothing listens at {KAFKA_VARIABLE}={self.address}: start that Kafka or unset it.")


def pick_kafka(
    directory: Path,
    port: int,
    controller_port: int,
    *,
    env: Mapping[str, str] = os.environ,
    docker: bool | None = None,
    pauseless: bool = False,
) -> Server:
    """HARKARA_KAFKA_BOOTSTRAP if set, else Docker if an engine answers (`docker` None: ask), else the embedded JVM
    (`pauseless`: as EmbeddedKafka says)."""
    if bootstrap := env.get(KAFKA_VARIABLE):
        return ExternalKafka(bootstrap)
    if docker_answers() if docker is None else docker:
        return docker_kafka(port)
    return EmbeddedKafka(directory, port, controller_port, pauseless=pauseless)


def pick_postgres(
    directory: Path, port: int, *, env: Mapping[str, str] = os.environ, docker: bool | None = None
) -> Server:
    """HARKARA_POSTGRES_DSN if set, else Docker if an engine answers (on `port`), else the embedded server."""
    if dsn := env.get(POSTGRES_VARIABLE):
        return ExternalServer(dsn)
    if docker_answers() if docker is None else docker:
        return docker_postgres(port, directory / "password")
    return EmbeddedPostgres(directory)
