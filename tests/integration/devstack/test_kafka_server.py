"""A real broker in a temporary directory: boots, survives SIGKILL with its data, refuses a taken port, dies with us."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError

from harkara.devstack.errors import PortTakenError, StartFailedError
from harkara.devstack.kafka_server import EmbeddedKafka, broker_answers
from harkara.devstack.ports import HOST, free_ports
from tests.support.kafka import create_topic, produce, read_all
from tests.support.wait import eventually


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    server = EmbeddedKafka(tmp_path / "kafka", *free_ports(2), heap_megabytes=256)
    yield server
    server.stop()


async def test_records_outlive_a_killed_broker(broker: EmbeddedKafka) -> None:
    bootstrap = broker.start()
    await create_topic(bootstrap, "kept", partitions=2)
    await produce(bootstrap, "kept", [(b"k", b"before")], partition=1)
    broker.kill()
    assert not broker_answers(HOST, broker.port)
    assert broker.start() == bootstrap
    await produce(bootstrap, "kept", [(b"k", b"after")], partition=1)
    found = await read_all(bootstrap, "kept")
    assert [(record.partition, record.offset, record.value) for record in found] == [
        (1, 0, b"before"),
        (1, 1, b"after"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a process's command line as a file")
def test_a_broker_without_pauses_has_a_collector_without(tmp_path: Path) -> None:
    broker = EmbeddedKafka(tmp_path / "kafka", *free_ports(2), pauseless=True)
    try:
        broker.start()
        command = Path(f"/proc/{broker.pid}/cmdline").read_bytes().split(b"\0")
    finally:
        broker.stop()
    assert b"-XX:+UseZGC" in command
    assert not [each for each in command if b"Serial" in each or b"jsa" in each]


async def test_writing_to_a_misspelt_topic_does_not_make_it(broker: EmbeddedKafka) -> None:
    bootstrap = broker.start()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, request_timeout_ms=500) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("misspelt", b"lost")
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        assert "misspelt" not in await consumer.topics()


@pytest.mark.parametrize(("taken", "variable"), [(0, "HARKARA_PORT_KAFKA "), (1, "HARKARA_PORT_KAFKA_CONTROLLER ")])
def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path, taken: int, variable: str) -> None:
    with socket.create_server((HOST, 0)) as server:
        ports = free_ports(2)
        ports[taken] = server.getsockname()[1]
        broker = EmbeddedKafka(tmp_path / "kafka", *ports)
        with pytest.raises(PortTakenError, match=f"set {variable}to another one"):
            broker.start()
        assert broker.pid is None


def test_a_failed_start_quotes_the_log(broker: EmbeddedKafka) -> None:
    (broker.directory / "data").mkdir(parents=True)
    (broker.directory / "data" / "meta.properties").write_text("version=1\ncluster.id=x\nnode.id=7\n")
    with pytest.raises(StartFailedError, match=r"(?s)ended with status 1 while starting.*node.id"):
        broker.start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_the_broker_dies_with_a_killed_parent(broker: EmbeddedKafka) -> None:
    script = (
        "import sys; from pathlib import Path; from harkara.devstack.kafka_server import EmbeddedKafka\n"
        f"broker = EmbeddedKafka(Path({str(broker.directory)!r}), {broker.port}, {broker.controller_port})\n"
        "broker.start(); print(broker.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert broker_answers(HOST, broker.port)
        parent.send_signal(signal.SIGKILL)

        def gone() -> bool:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"

        await eventually(gone)
