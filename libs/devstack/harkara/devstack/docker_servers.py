"""Kafka and Postgres in containers (testcontainers), for machines where a Docker engine answers."""

import os
import secrets
import socket
from pathlib import Path
from typing import Any

from harkara.devstack.kafka_jars import KAFKA_VERSION
from harkara.devstack.ports import HOST, NamedPort, require_free

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
POSTGRES_IMAGE = "postgres:18-alpine"
# An engine answers a ping in milliseconds; one that needs longer is not worth waiting for.
_PING_TIMEOUT_SECONDS = 0.8
_DEFAULT_SOCKET = "unix:///var/run/docker.sock"


def docker_answers(docker_host: str | None = None) -> bool:
    """Whether a Docker engine answers a ping, and testcontainers is installed to use it.

    `docker_host` has DOCKER_HOST's form (unix:// or tcp://); the default is that variable, else the usual socket.
    """
    address = docker_host or os.environ.get("DOCKER_HOST") or _DEFAULT_SOCKET
    try:
        with _connect(address) as link:
            link.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            answers = link.recv(64).startswith(b"HTTP/1.") and _has_testcontainers()
    except (OSError, ValueError):
        return False
    return answers


def _connect(address: str) -> socket.socket:
    scheme, _, rest = address.partition("://")
    if scheme == "unix":
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(_PING_TIMEOUT_SECONDS)
        try:
            link.connect(rest)
        except OSError:
            link.close()
            raise
        return link
    if scheme == "tcp":
        host, _, port = rest.rpartition(":")
        return socket.create_connection((host, int(port)), _PING_TIMEOUT_SECONDS)
    raise ValueError(f"no ping over {scheme}")


def _has_testcontainers() -> bool:
    try:
        import testcontainers.core.container  # noqa: F401  costs 0.3 s, so only where an engine answers
    except ImportError:
        return False
    return True


class DockerServer:
    """One container with one published port. Its reaper removes it if we are killed."""

    def __init__(self, name: str, container: Any, ready: Any, port: int, address: str) -> None:
        self.address = address
        self._name = name
        self._container = container
        self._ready = ready
        self._port = port

    @property
    def ports(self) -> tuple[NamedPort, ...]:
        """What must be free before `prepare`."""
        return ((self._name, self._port),)

    def prepare(self) -> None:
        """Pulls the image where it is missing and starts the container, which is the engine's child and not ours.

        Raises PortTakenError and the engine's errors.
        """
        require_free(self.ports)
        self._container.start()

    def spawn(self) -> None:
        """Nothing more to do."""

    def wait_ready(self, timeout_seconds: float = 120.0) -> None:
        """Returns once the server takes connections. Raises TimeoutError with the container's log."""
        self._ready.with_startup_timeout(int(timeout_seconds)).wait_until_ready(self._container)

    def stop(self) -> None:
        """Removes the container and its data."""
        self._container.stop()


def docker_kafka(port: int) -> DockerServer:
    """A single KRaft node that advertises `port` of this machine."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    container = DockerContainer(KAFKA_IMAGE).with_bind_ports(9092, port)
    settings = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{HOST}:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    for name, value in settings.items():
        container = container.with_env(name, value)
    return DockerServer("kafka", container, LogMessageWaitStrategy("Kafka Server started"), port, f"{HOST}:{port}")


def docker_postgres(port: int, password_file: Path) -> DockerServer:
    """A server with a password of its own, kept in `password_file` (mode 0600): Docker publishes on every interface."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import ExecWaitStrategy

    if not password_file.exists():
        password_file.parent.mkdir(parents=True, exist_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(24))
    password = password_file.read_text()
    container = DockerContainer(POSTGRES_IMAGE).with_bind_ports(5432, port).with_env("POSTGRES_PASSWORD", password)
    return DockerServer(
        "postgres",
        container,
        # over TCP: the server of the image's init scripts, which is stopped again, has only a Unix socket
        ExecWaitStrategy(["pg_isready", "-h", "127.0.0.1"]),
        port,
        f"postgresql://postgres:{password}@{HOST}:{port}/postgres",
    )
