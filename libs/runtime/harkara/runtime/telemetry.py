"""Logs, traces and the little that both share. Nothing here may carry a phone, a text or a secret."""

from __future__ import annotations

import logging
import re
import secrets
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from harkara.runtime.settings import ServiceSettings

SECRET_KEYS = frozenset(
    "to phone from_phone wa_id recipient text body caption token authorization secret api_key pepper password".split()
)
_SECRET_TEXT = re.compile(r"\+[1-9][0-9]{7,14}|EAA[A-Za-z0-9]{6,}|(?i:bearer)\s+\S+")
MASK = "[redacted]"

_PROPAGATOR = TraceContextTextMapPropagator()
_providers: list[TracerProvider] = []  # at most one: set by configure() where traces are exported


def redact(value: Any) -> Any:
    """The value without what must not be seen: secret keys at any depth, and phones and tokens inside texts."""
    if isinstance(value, str):
        return _SECRET_TEXT.sub(MASK, value)
    if isinstance(value, dict):
        return {key: MASK if str(key).lower() in SECRET_KEYS else redact(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redact(each) for each in value]
    return value


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    redacted: MutableMapping[str, Any] = redact(dict(event))
    return redacted


def configure(settings: ServiceSettings) -> None:
    """One JSON line per event on stdout, from structlog and from libraries' loggers alike; spans where asked for."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=settings.service, instance=settings.instance)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redact_event, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.getLevelName(settings.log_level), logging.WARNING))
    _configure_traces(settings)


def _configure_traces(settings: ServiceSettings) -> None:
    if settings.traces == "none":
        return
    exporter = ConsoleSpanExporter() if settings.traces == "console" else _otlp_exporter(settings.otlp_endpoint)
    resource = Resource.create({"service.name": settings.service, "service.instance.id": settings.instance})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _providers[:] = [provider]


def _otlp_exporter(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # 0.12 s that few processes need

    return OTLPSpanExporter(endpoint)


def shutdown() -> None:
    """Send the spans that wait."""
    for provider in _providers:
        provider.shutdown()
    _providers.clear()


@dataclass(frozen=True, slots=True)
class SpanHandle:
    """The running span's `traceparent`, to be put on what the work writes."""

    traceparent: str


def span(name: str, traceparent: str | None, **attributes: str) -> AbstractContextManager[SpanHandle]:
    """Work on one message, as a child of `traceparent`. Without an exporter the caller's traceparent is passed on
    unchanged (a new one is made where there is none), so that a trace stays whole whoever exports."""
    if not _providers:
        return nullcontext(SpanHandle(traceparent or new_traceparent()))
    return _recorded(name, traceparent, attributes)


@contextmanager
def _recorded(name: str, traceparent: str | None, attributes: dict[str, str]) -> Iterator[SpanHandle]:
    context = _PROPAGATOR.extract({"traceparent": traceparent} if traceparent else {})
    tracer = _providers[0].get_tracer("harkara")
    started = tracer.start_span(name, context=context, kind=SpanKind.CONSUMER, attributes=attributes)
    with trace.use_span(started, end_on_exit=True):
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        yield SpanHandle(carrier.get("traceparent") or traceparent or new_traceparent())


def new_traceparent() -> str:
    """The start of a trace: W3C Trace Context, sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
