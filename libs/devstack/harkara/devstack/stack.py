"""The whole system on one machine: Kafka, Postgres, the Graph simulator, and every service as its own process."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from harkara.devstack.brokers import ExternalKafka, Server, pick_kafka, pick_postgres
from harkara.devstack.dev_environment import (
    SERVICES,
    SIMULATOR,
    Endpoints,
    Instance,
    RunSecrets,
    environment,
    load_or_make_secrets,
    number_tokens,
    write_api_keys,
    write_shell_environment,
)
from harkara.devstack.docker_servers import docker_answers
from harkara.devstack.errors import DevstackError
from harkara.devstack.ports import ports_from, require_free
from harkara.devstack.supervisor import ProcessEvent, ProcessSpec, Supervisor, service_process
from harkara.policy.governance import load
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.topic_admin import ensure_topics


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that became ready (`name`: kafka, postgres, topics or an instance), `seconds` after the start began."""

    name: str
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StackConfig:
    """`run_dir` holds everything of the run: data, logs, secrets, `stack.env`; a new run wants a new one.

    `extra_env` adds to the environment of a service's processes (by service name), or of all under "*". `services`
    are started beside the simulator; a test of a part leaves out the others.
    """

    run_dir: Path
    governance_file: Path
    world_file: Path
    extra_env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    services: tuple[Instance, ...] = SERVICES


class Stack:
    """`start`, use, `stop`; or `async with`. All of it belongs to the event loop of the main thread."""

    def __init__(
        self,
        config: StackConfig,
        *,
        on_step: Callable[[Step], None] = lambda step: None,
        on_event: Callable[[ProcessEvent], None] = lambda event: None,
    ) -> None:
        """Raises DevstackError (a wrong port variable, no world file) and GovernanceError (the policy file)."""
        self.config = config
        self.ports = ports_from(os.environ)
        self._tokens = _tokens(config)
        self._on_step = on_step
        self._began = time.monotonic()
        self.supervisor = Supervisor(config.run_dir, on_event=on_event)
        self.secrets: RunSecrets = load_or_make_secrets(config.run_dir)
        docker = docker_answers()
        self.kafka: Server = pick_kafka(
            config.run_dir / "kafka", self.ports["kafka"], self.ports["kafka-controller"], docker=docker
        )
        self.postgres: Server = pick_postgres(config.run_dir / "postgres", self.ports["postgres"], docker=docker)

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is; Postgres' address is final once it is prepared."""
        return Endpoints(self.kafka.address, self._topic_prefix(), self.postgres.address, self.ports)

    @property
    def api_key(self) -> str:
        """The text of a key for every sender: `Authorization: Bearer <it>`."""
        return self.secrets.api_key

    def settings(self, service: str) -> ServiceSettings:
        """For a client of this run in this process: where Kafka is, the prefix, the partitions, the pepper."""
        kafka = KafkaSettings(bootstrap=self.kafka.address, topic_prefix=self._topic_prefix())
        told = self._environment(SIMULATOR)
        return ServiceSettings.model_validate(
            {
                "service": service,
                "kafka": kafka,
                "partitions": told["HARKARA_PARTITIONS"],
                "replication_factor": told["HARKARA_REPLICATION_FACTOR"],
                "governance_file": self.config.governance_file,
                "pepper": self.secrets.pepper,
            }
        )

    async def start(self) -> None:
        """Returns when every process is ready. Raises DevstackError (nothing is left running then)."""
        self._began = time.monotonic()
        require_free(
            [
                *self.kafka.ports,
                *self.postgres.ports,
                *((each.port, self.ports[each.port]) for each in self._instances()),
            ]
        )
        try:
            await self._start_all()
        except BaseException:  # Ctrl-C too: whatever ends the start, what was started is stopped
            await self.stop()
            raise

    async def stop(self) -> None:
        """Services first, then Postgres and Kafka; harmless where nothing runs."""
        await self.supervisor.stop()
        await asyncio.to_thread(self.postgres.stop)
        await asyncio.to_thread(self.kafka.stop)

    def kill(self, service: str, signal_number: signal.Signals = signal.SIGKILL) -> str:
        """Ends the first process of that service as a crash would, and returns its instance's name."""
        for each in self._instances():
            if service in (each.service, each.name):
                self.supervisor.kill(each.name, signal_number)
                return each.name
        names = ", ".join(sorted({each.service for each in self._instances()}))
        raise DevstackError(f"There is no service {service}; there are: {names}.")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start_all(self) -> None:
        write_api_keys(self.config.run_dir, self.secrets)
        await self.supervisor.prepare()
        await self._boot_servers()
        write_shell_environment(self.config.run_dir, self.secrets, self.endpoints)
        for each in self._instances():
            await self.supervisor.start(self._process(each))
        await self.supervisor.wait_ready(on_ready=self._tell)

    async def _boot_servers(self) -> None:
        """Both at once; the first error, alone: its one sentence is for the person at the terminal."""
        try:
            async with asyncio.TaskGroup() as servers:
                servers.create_task(self._boot_kafka())
                servers.create_task(self._boot("postgres", self.postgres))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _boot_kafka(self) -> None:
        await self._boot("kafka", self.kafka)
        created = await ensure_topics(self.settings("devstack"))
        self._tell("topics", f"{created} created")

    async def _boot(self, name: str, server: Server) -> None:
        await asyncio.to_thread(server.prepare)
        server.spawn()  # here, in the main thread: the kernel ends the child when the thread that forked it ends
        await asyncio.to_thread(server.wait_ready)
        self._tell(name, type(server).__name__)

    def _process(self, each: Instance) -> ProcessSpec:
        return service_process(each.service, each.name, self.ports[each.port], self._environment(each))

    def _environment(self, each: Instance) -> dict[str, str]:
        config = self.config
        told = environment(
            each, os.environ, self.secrets, self.endpoints,
            config.run_dir, config.governance_file, config.world_file, self._tokens,
        )  # fmt: skip
        return told | dict(config.extra_env.get("*", {})) | dict(config.extra_env.get(each.service, {}))

    def _instances(self) -> tuple[Instance, ...]:
        return (SIMULATOR, *self.config.services)

    def _topic_prefix(self) -> str:
        """On a Kafka that outlives the run, each run gets its own topics, unless the environment names a prefix."""
        named = os.environ.get("HARKARA_KAFKA_TOPIC_PREFIX")
        if named is not None:
            return named
        return f"run-{self.secrets.run_id}." if isinstance(self.kafka, ExternalKafka) else ""

    def _tell(self, name: str, detail: str = "") -> None:
        self._on_step(Step(name, time.monotonic() - self._began, detail))


def _tokens(config: StackConfig) -> dict[str, str]:
    governance = load(config.governance_file)
    if not config.world_file.is_file():
        raise DevstackError(f"The simulator's world {config.world_file} is not there.")
    return number_tokens(governance, config.world_file)
