"""The ports of the local system: one table, each entry movable by `HARKARA_PORT_<NAME>`, all checked before a start."""

import socket
from collections.abc import Iterable, Mapping

from harkara.devstack.errors import DevstackError, PortTakenError

HOST = "127.0.0.1"

NamedPort = tuple[str, int]
"""The name in the table, and the port."""

DEFAULT_PORTS: Mapping[str, int] = {
    "kafka": 19092,
    "kafka-controller": 19093,
    "postgres": 19432,  # Docker's Postgres only: the embedded one listens on a Unix socket
    "ingestion": 8080,
    "console": 8081,
    "compliance-guard": 8082,
    "window-router": 8083,
    "dispatcher": 8084,
    "dispatcher-2": 8085,
    "message-state": 8086,
    "quality-monitor": 8087,
    "sla-tracker": 8088,
    "template-manager": 8089,
    "graph-simulator": 8090,
    "outcome-notifier": 8091,
}


def port_variable(name: str) -> str:
    """`compliance-guard` -> `HARKARA_PORT_COMPLIANCE_GUARD`."""
    return f"HARKARA_PORT_{name.upper().replace('-', '_')}"


def ports_from(env: Mapping[str, str]) -> dict[str, int]:
    """The table with the environment's changes. Raises DevstackError on a value that is no port, or on two alike."""
    ports = {name: _port(env.get(port_variable(name)), name, default) for name, default in DEFAULT_PORTS.items()}
    owners: dict[int, str] = {}
    for name, port in ports.items():
        if port in owners:
            raise DevstackError(f"{port_variable(owners[port])} and {port_variable(name)} are both {port}: change one.")
        owners[port] = name
    return ports


def _port(value: str | None, name: str, default: int) -> int:
    if value is None or value == "":
        return default
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 65535:
        raise DevstackError(f"{port_variable(name)} is {value!r}: set it to a port between 1 and 65535.")
    return int(value)


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen there now; a connection that is only lingering (TIME_WAIT) does not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def require_free(ports: Iterable[NamedPort], host: str = HOST) -> None:
    """Raises PortTakenError with one sentence for each that is taken."""
    taken = [
        f"Port {port} of {name} is in use: free it, or set {port_variable(name)} to another one."
        for name, port in ports
        if not is_free(port, host)
    ]
    if taken:
        raise PortTakenError("\n".join(taken))


def free_ports(count: int, host: str = HOST) -> list[int]:
    """Ports that the system had free a moment ago (for tests: all different, none reserved)."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for each in sockets:
            each.bind((host, 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
