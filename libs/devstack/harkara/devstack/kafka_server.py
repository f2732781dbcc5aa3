"""A real Apache Kafka as a child JVM: one KRaft node, broker and controller in one, on loopback.

Its directory holds all of it: `data/` (kept over restarts and SIGKILL), `server.properties` (rewritten at each start),
`kafka.log`. Several may run at once, each with its own directory and ports.
"""

import contextlib
import os
import signal
import socket
import struct
import uuid
from base64 import urlsafe_b64encode
from importlib.resources import as_file, files
from pathlib import Path

from harkara.devstack.kafka_jars import KafkaDistribution, resolve_kafka
from harkara.devstack.ports import HOST, NamedPort, require_free
from harkara.devstack.server_child import ServerChild

# Boots in 0.8 s (1.6 s before the class archive is there) on an idle machine; 60 s covers 2 cores shared by a test run.
START_TIMEOUT_SECONDS = 60.0
# A clean stop takes 0.3 s; the first one also writes the class archive, 2.5 s; past this it is killed.
STOP_TIMEOUT_SECONDS = 20.0
_JVM_STATUS_AFTER_SIGTERM = 128 + signal.SIGTERM
_PROBE_TIMEOUT_SECONDS = 2.0
# A node whose heartbeats are late by so much is fenced, and says that there is no broker: on a machine that is taken
# for some seconds a new one is to stay. One that is started again may have crashed, and its controller waits so long
# (9 s by default) before it takes the same node back.
_SESSION_SECONDS, _SESSION_SECONDS_AGAIN = 60, 4
# At 1,000 messages/s the serial collector stops the broker for 15 to 45 ms every two seconds, this one for 4 at most.
_PAUSELESS = ("-XX:+UseZGC", "-Xmx1536m", "-Xms1536m", "-XX:+AlwaysPreTouch")

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
# A misspelt topic must fail here as it does in production; Harkara and Faust create theirs by request.
auto.create.topics.enable=false
# One node: every internal topic has one replica, and few partitions (each costs files and memory maps).
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# A group of one laptop need not wait 3 s for members from elsewhere.
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms={session_ms}
broker.heartbeat.interval.ms=1000
# A test's records may bear last year's time: what is over by it goes an hour after the start, not 30 s.
log.initial.task.delay.ms=3600000
# Made for 512 MB: the cleaner takes 128 MB of heap by default, indexes 10 MB of file each.
log.cleaner.dedupe.buffer.size=33554432
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
"""


class EmbeddedKafka:
    """One broker process. `directory` is created; `port` is the clients', `controller_port` KRaft's own.

    `outlives_parent` leaves the broker running when this process ends (a broker shared
    by several shells); otherwise it dies with the thread that spawned it, even if that is killed.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        controller_port: int,
        *,
        heap_megabytes: int = 512,
        outlives_parent: bool = False,
        pauseless: bool = False,
        distribution: KafkaDistribution | None = None,
    ) -> None:
        self.directory = directory.resolve()
        self.port = port
        self.controller_port = controller_port
        self.log_file = self.directory / "kafka.log"
        self._heap_megabytes = heap_megabytes
        self._pauseless = pauseless
        self._distribution = distribution
        last_words = None if outlives_parent else signal.SIGKILL
        self._child = ServerChild("Kafka", self.directory, self.log_file, last_words)
        self._archives: tuple[Path, Path] | None = None  # being written, its final name

    @property
    def ports(self) -> tuple[NamedPort, ...]:
        """What must be free before `spawn`."""
        return (("kafka", self.port), ("kafka-controller", self.controller_port))

    @property
    def address(self) -> str:
        """The bootstrap address, host:port."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._child.pid

    def start(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> str:
        """`spawn` and `wait_ready`; returns the bootstrap address."""
        self.spawn()
        self.wait_ready(timeout_seconds)
        return self.address

    def prepare(self) -> None:
        """Fetches the jars where this machine has none yet (10 s). Raises MissingToolError and DevstackError."""
        if self._distribution is None:
            self._distribution = resolve_kafka()

    def spawn(self) -> None:
        """Starts the JVM and returns at once. Raises what `prepare` does, and PortTakenError."""
        self._child.refuse_second()
        require_free(self.ports)
        self.prepare()
        distribution = self._distribution
        assert distribution is not None
        properties = self._write_files(distribution)
        self._child.spawn(self._command(distribution, properties), folder=self.directory)

    def wait_ready(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Returns once the broker lists itself in a metadata answer. Raises StartFailedError with its last lines."""
        self._child.wait_ready(lambda _: broker_answers(HOST, self.port), timeout_seconds)

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """SIGTERM, then SIGKILL at the deadline. Nothing to do where it is not running."""
        status = self._child.stop(signal.SIGTERM, timeout_seconds)
        self._publish_archive(whole=status == _JVM_STATUS_AFTER_SIGTERM)

    def kill(self) -> None:
        """SIGKILL: what a crashed node looks like. `start` may be called again; the data is kept."""
        self._child.kill()

    def _write_files(self, distribution: KafkaDistribution) -> Path:
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        again = (data / "meta.properties").exists()
        if not again:
            (data / "bootstrap.checkpoint").write_bytes(distribution.bootstrap_checkpoint.read_bytes())
            meta = f"version=1\ncluster.id={_kafka_uuid()}\nnode.id=1\ndirectory.id={_kafka_uuid()}\n"
            unfinished = self.directory / "meta.properties.new"
            unfinished.write_text(meta)
            unfinished.rename(data / "meta.properties")  # last and at once: its presence says "formatted"
        properties = self.directory / "server.properties"
        session_ms = 1000 * (_SESSION_SECONDS_AGAIN if again else _SESSION_SECONDS)
        ports = {"port": self.port, "controller_port": self.controller_port}
        properties.write_text(_PROPERTIES.format(host=HOST, data=data, session_ms=session_ms, **ports))
        return properties

    def _command(self, distribution: KafkaDistribution, properties: Path) -> list[str]:
        with as_file(files("harkara.devstack") / "kafka" / "log4j2.xml") as packaged:
            (self.directory / "log4j2.xml").write_bytes(packaged.read_bytes())
        return [
            str(distribution.java),
            *(_PAUSELESS if self._pauseless else self._serial(distribution)),
            "-XX:TieredStopAtLevel=1",
            f"-XX:ErrorFile={self.directory / 'jvm-crash.log'}",
            f"-Dlog4j2.configurationFile={self.directory / 'log4j2.xml'}",
            "-cp",
            distribution.classpath,
            "kafka.Kafka",
            str(properties),
        ]

    def _serial(self, distribution: KafkaDistribution) -> tuple[str, ...]:
        heap = f"-Xmx{self._heap_megabytes}m", f"-Xms{min(256, self._heap_megabytes)}m"
        return *heap, "-XX:+UseSerialGC", self._class_sharing(distribution)  # an archive is of one collector

    def _class_sharing(self, distribution: KafkaDistribution) -> str:
        """Use the class archive of this JVM, or have this broker write one when it stops cleanly."""
        if distribution.class_archive.exists():
            return f"-XX:SharedArchiveFile={distribution.class_archive}"
        unfinished = distribution.class_archive.with_suffix(f".{os.getpid()}-{self.port}.new")
        self._archives = (unfinished, distribution.class_archive)
        return f"-XX:ArchiveClassesAtExit={unfinished}"

    def _publish_archive(self, *, whole: bool) -> None:
        """Renamed when whole; one cut short by SIGKILL is thrown away."""
        if self._archives is None:
            return
        unfinished, final = self._archives
        self._archives = None
        if whole and unfinished.exists():
            unfinished.rename(final)
        else:
            unfinished.unlink(missing_ok=True)


def broker_answers(host: str, port: int) -> bool:
    """Asks for metadata (version 4, no topics): True once a broker is listed, which is when it takes requests."""
    request = struct.pack(">hhih7siB", 3, 4, 1, 7, b"harkara", 0, 0)
    with (
        contextlib.suppress(OSError, struct.error),
        socket.create_connection((host, port), _PROBE_TIMEOUT_SECONDS) as link,
    ):
        link.sendall(struct.pack(">i", len(request)) + request)
        with link.makefile("rb") as answer:
            (size,) = struct.unpack(">i", answer.read(4))
            body = answer.read(size)
        # correlation id, throttle time, number of brokers
        return len(body) >= 12 and bool(struct.unpack(">i", body[8:12])[0] > 0)
    return False


def _kafka_uuid() -> str:
    """Kafka's 22-character form; like Kafka's own, never one that begins with a dash."""
    while True:
        text = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
