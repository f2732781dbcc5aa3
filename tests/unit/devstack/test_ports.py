import socket
from collections.abc import Iterator

import pytest

from harkara.devstack.errors import DevstackError, PortTakenError
from harkara.devstack.ports import DEFAULT_PORTS, HOST, free_ports, is_free, port_variable, ports_from, require_free


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield int(server.getsockname()[1])


def test_defaults_without_variables() -> None:
    assert ports_from({}) == dict(DEFAULT_PORTS)


def test_a_variable_moves_one_port() -> None:
    ports = ports_from({"HARKARA_PORT_COMPLIANCE_GUARD": "9082", "HARKARA_PORT_KAFKA": ""})
    assert ports["compliance-guard"] == 9082
    assert ports["kafka"] == DEFAULT_PORTS["kafka"]


@pytest.mark.parametrize("value", ["0", "65536", "http", "-1", "²", "8080.0"])
def test_what_is_no_port_is_refused_by_name(value: str) -> None:
    with pytest.raises(DevstackError, match=r"HARKARA_PORT_INGESTION is .* between 1 and 65535"):
        ports_from({"HARKARA_PORT_INGESTION": value})


def test_two_on_one_port_are_refused_by_both_names() -> None:
    with pytest.raises(DevstackError, match="HARKARA_PORT_INGESTION and HARKARA_PORT_CONSOLE are both 8081"):
        ports_from({"HARKARA_PORT_INGESTION": "8081"})


def test_a_taken_port_is_one_sentence_with_the_variable(taken_port: int) -> None:
    (free,) = free_ports(1)
    with pytest.raises(PortTakenError) as caught:
        require_free([("dispatcher-2", taken_port), ("console", free)])
    assert str(caught.value) == (
        f"Port {taken_port} of dispatcher-2 is in use: free it, or set HARKARA_PORT_DISPATCHER_2 to another one."
    )


def test_every_taken_port_gets_its_sentence(taken_port: int) -> None:
    with pytest.raises(PortTakenError) as caught:
        require_free([("kafka", taken_port), ("ingestion", taken_port)])
    assert len(str(caught.value).splitlines()) == 2


def test_free_and_taken(taken_port: int) -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    assert all(is_free(port) for port in ports)
    assert not is_free(taken_port)


def test_variable_names() -> None:
    assert port_variable("kafka-controller") == "HARKARA_PORT_KAFKA_CONTROLLER"
