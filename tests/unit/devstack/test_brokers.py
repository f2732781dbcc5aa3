import socket
import threading
from pathlib import Path

import pytest

from harkara.devstack.brokers import ExternalKafka, ExternalServer, pick_kafka, pick_postgres
from harkara.devstack.docker_servers import docker_answers
from harkara.devstack.errors import StartFailedError
from harkara.devstack.kafka_server import EmbeddedKafka
from harkara.devstack.ports import HOST, free_ports
from harkara.devstack.postgres_server import EmbeddedPostgres


def test_a_named_server_goes_before_everything(tmp_path: Path) -> None:
    kafka = pick_kafka(tmp_path, 1, 2, env={"HARKARA_KAFKA_BOOTSTRAP": "broker:9092"}, docker=True)
    postgres = pick_postgres(tmp_path, 3, env={"HARKARA_POSTGRES_DSN": "postgresql://elsewhere/x"}, docker=True)
    assert isinstance(kafka, ExternalKafka)
    assert isinstance(postgres, ExternalServer)
    assert (kafka.address, postgres.address) == ("broker:9092", "postgresql://elsewhere/x")
    assert kafka.ports == postgres.ports == ()


def test_without_name_and_docker_it_is_our_own(tmp_path: Path) -> None:
    kafka = pick_kafka(tmp_path, 1, 2, env={}, docker=False)
    assert isinstance(kafka, EmbeddedKafka)
    assert kafka.ports == (("kafka", 1), ("kafka-controller", 2))
    assert isinstance(pick_postgres(tmp_path, 3, env={}, docker=False), EmbeddedPostgres)


def test_a_wrong_bootstrap_is_one_sentence() -> None:
    (nobody,) = free_ports(1)
    with pytest.raises(StartFailedError, match=rf"Nothing listens at HARKARA_KAFKA_BOOTSTRAP=127.0.0.1:{nobody}:"):
        ExternalKafka(f"{HOST}:{nobody}").wait_ready()


def test_one_bootstrap_server_that_listens_is_enough() -> None:
    (nobody,) = free_ports(1)
    with socket.create_server((HOST, 0)) as server:
        ExternalKafka(f"{HOST}:{nobody}, {HOST}:{server.getsockname()[1]}").wait_ready()


def answer_once(server: socket.socket, answer: bytes) -> threading.Thread:
    def serve() -> None:
        link, _ = server.accept()
        with link:
            link.recv(1024)
            link.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(("answer", "expected"), [(b"HTTP/1.0 200 OK\r\n\r\nOK", True), (b"220 mail ready", False)])
def test_docker_is_what_answers_a_ping(answer: bytes, expected: bool, tmp_path: Path) -> None:
    path = tmp_path / "engine"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        thread = answer_once(server, answer)
        assert docker_answers(f"unix://{path}") is expected
        thread.join()


@pytest.mark.parametrize("address", ["unix:///nonexistent/docker.sock", "ssh://host", "tcp://127.0.0.1:1", "tcp://x"])
def test_no_engine_is_no_docker(address: str) -> None:
    assert docker_answers(address) is False
