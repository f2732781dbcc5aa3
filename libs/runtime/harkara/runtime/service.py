"""A service: components that run until told to stop, and one HTTP port that says how they are."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator, Sequence
from typing import Protocol

import structlog
import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from harkara.runtime import telemetry
from harkara.runtime.http_port import uvicorn_config
from harkara.runtime.kafka import Writer, start_producer
from harkara.runtime.settings import ServiceSettings

GRACE_SECONDS = 40.0  # per component, within Kubernetes' terminationGracePeriodSeconds of 60; lanes take up to 30

log = structlog.get_logger()


class Component(Protocol):
    """A part of a service that runs beside the others."""

    name: str

    async def run(self) -> None:
        """Run until cancelled, leaving in order then; an exception ends the whole process."""
        ...

    def ready(self) -> str | None:
        """None when it does its job, else why not yet."""
        ...


class ProducerComponent:
    """A producer for HTTP routes; `writer` is there once it is ready."""

    name = "producer"

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._writer: Writer | None = None

    @property
    def writer(self) -> Writer:
        """Raises RuntimeError before the producer has started; routes are reached only when the service is ready."""
        if self._writer is None:
            raise RuntimeError("the producer has not started")
        return self._writer

    async def run(self) -> None:
        """Hold a producer open."""
        settings = self._settings
        self._producer = await start_producer(settings)
        self._writer = Writer(self._producer, settings.kafka, settings.partitions, settings.service)
        try:
            await asyncio.Event().wait()
        finally:
            self._writer = None
            await self._producer.stop()

    def ready(self) -> str | None:
        """Ready when connected."""
        return None if self._writer is not None else "the producer is connecting"


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the service stops its components in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Service:
    """Runs the components and the HTTP port until SIGTERM, SIGINT or the first failure."""

    def __init__(
        self, settings: ServiceSettings, components: Sequence[Component], http_app: FastAPI | None = None
    ) -> None:
        self.settings = settings
        self.components = list(components)
        self.http_app = http_app or FastAPI(title=settings.service, docs_url=None, redoc_url=None, openapi_url=None)
        self._stopping = asyncio.Event()
        self._mount_health()

    async def run(self) -> int:
        """The process's exit code: 0 after a stop that was asked for, 1 after a failure (its log line says which)."""
        telemetry.configure(self.settings)
        listener = _bound_socket(self.settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        server = _Server(uvicorn_config(self.settings, self.http_app))
        tasks: list[asyncio.Task[None]] = [asyncio.create_task(_serve(server, listener), name="http")]
        tasks += [asyncio.create_task(component.run(), name=component.name) for component in self.components]
        stop = asyncio.create_task(self._stopping.wait())
        log.info("service_started", port=listener.getsockname()[1], components=[c.name for c in self.components])
        await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
        failed = _report_ended([task for task in tasks if task.done()])
        stop.cancel()
        for task in reversed(tasks[1:]):
            failed |= await _stopped(task)
        server.should_exit = True
        failed |= await _stopped(tasks[0], cancel=False)
        telemetry.shutdown()
        log.info("service_stopped", failed=failed)
        return 1 if failed else 0

    def not_ready(self) -> dict[str, str]:
        """Why the service is not ready, by component; empty when it is."""
        found = {component.name: component.ready() for component in self.components}
        waiting = {name: why for name, why in found.items() if why is not None}
        return {"service": "stopping"} | waiting if self._stopping.is_set() else waiting

    def _mount_health(self) -> None:
        app = self.http_app

        @app.get("/healthz", include_in_schema=False)
        async def healthz() -> dict[str, str]:
            return {"status": "alive"}  # answered by the event loop, so a blocked loop fails it; nothing else may

        @app.get("/readyz", include_in_schema=False)
        async def readyz(response: Response) -> dict[str, object]:
            waiting = self.not_ready()
            response.status_code = 503 if waiting else 200
            return {"status": "waiting" if waiting else "ready", "waiting_for": waiting}

        @app.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    await server.serve(sockets=[listener])


def _bound_socket(settings: ServiceSettings) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.http_host, settings.http_port))
    except OSError as error:
        listener.close()
        raise SystemExit(
            f"{settings.service}: {settings.http_host}:{settings.http_port} cannot be had ({error.strerror}); "
            "set HARKARA_HTTP_PORT to a free port"
        ) from None
    return listener


def _report_ended(tasks: list[asyncio.Task[None]]) -> bool:
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        log.error("component_ended", component=task.get_name(), exc_info=error)
    return bool(tasks)


async def _stopped(task: asyncio.Task[None], *, cancel: bool = True) -> bool:
    """Stop one component in order; True when it failed to."""
    if task.done():
        return False  # already reported
    if cancel:
        task.cancel()
    done, _ = await asyncio.wait([task], timeout=GRACE_SECONDS)
    if not done:
        log.error("component_did_not_stop", component=task.get_name(), grace_seconds=GRACE_SECONDS)
        return True
    if not task.cancelled() and task.exception() is not None:
        log.error("component_failed_stopping", component=task.get_name(), exc_info=task.exception())
        return True
    return False
