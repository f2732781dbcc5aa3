"""What operators tell the system: each command is written to its topic, and to the audit log, before it is answered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import structlog
from aiokafka.errors import KafkaError

from harkara.console.metrics import COMMANDS
from harkara.contracts.audit import AuditRecord
from harkara.contracts.commands import SendCommand
from harkara.contracts.consent import ConsentEvent
from harkara.contracts.event import event_id
from harkara.contracts.intents import DispatchOrder
from harkara.contracts.numbers import NumberCommand
from harkara.contracts.topics import (
    AUDIT_LOG,
    CONSENT_EVENTS,
    DISPATCH_ORDERS,
    DISPATCH_ORDERS_URGENT,
    NUMBER_COMMANDS,
    SEND_COMMANDS,
)
from harkara.runtime.clock import Clock
from harkara.runtime.kafka import Output
from harkara.runtime.problems import Problem
from harkara.runtime.service import ProducerComponent

URGENT = 3
ACKNOWLEDGED_WITHIN_SECONDS = 10.0  # what a person waits for a button; Kafka normally takes milliseconds

Kind = Literal[
    "cancel_message",
    "cancel_run",
    "cancel_recipient",
    "pause_run",
    "resume_run",
    "prioritise_message",
    "prioritise_run",
    "resolve_in_doubt",
]

log = structlog.get_logger()


class Commands:
    """Writes commands. Raises Problem 503 where Kafka does not acknowledge in time; a repetition does no harm."""

    def __init__(self, producer: ProducerComponent, clock: Clock) -> None:
        self._producer = producer
        self._clock = clock

    async def number(
        self, kind: Literal["halt", "resume"], phone_number_id: str, home: str, actor: str, note: str
    ) -> str:
        """Halt or resume a number; returns the command's id."""
        command = NumberCommand(
            command_id=uuid.uuid4().hex,
            phone_number_id=phone_number_id,
            home=home,
            kind=kind,
            actor=actor,
            note=note,
            at=self._clock.now(),
        )
        order = Output(NUMBER_COMMANDS, home, home, command, command.command_id, command.at)
        await self._write([order], self._audit(command.command_id, actor, f"{kind}_number", phone_number_id, note))
        COMMANDS.labels(kind).inc()
        return command.command_id

    async def tell(
        self,
        kind: Kind,
        target: str,
        home: str,
        actor: str,
        note: str = "",
        *,
        command_id: str = "",
        since: datetime | None = None,
        **more: Any,
    ) -> str:
        """A command to the lane of `home` about a message, run or person; returns its id. `more`: its own arguments.

        A cancel of a message or run has the same id for every repetition by the same caller; others are told anew
        each time, unless an id is given. `since`: when the run was accepted; the command is no older, whoever's clock
        is behind.
        """
        if not command_id:
            once = kind in ("cancel_message", "cancel_run")
            command_id = event_id(kind, target, home, actor) if once else uuid.uuid4().hex
        command = SendCommand(
            command_id=command_id,
            home=home,
            kind=kind,
            target=target,
            actor=actor,
            note=note,
            at=max(self._clock.now(), since) if since is not None else self._clock.now(),
            **more,
        )
        subject = target if kind.endswith("_message") or kind == "resolve_in_doubt" else None
        order = Output(SEND_COMMANDS, home, home, command, command.command_id, command.at, subject=subject)
        await self._write([order], self._audit(command.command_id, actor, kind, target, note, **more))
        COMMANDS.labels(kind).inc()
        return command.command_id

    async def redrive(self, order: DispatchOrder, letter_id: str, actor: str) -> str:
        """A dead order to its topic again, as it is; returns the id under which it is audited."""
        now = self._clock.now()
        told = event_id("redrive", letter_id, actor)
        topic = DISPATCH_ORDERS_URGENT if order.priority == URGENT else DISPATCH_ORDERS
        again = Output(topic, order.home, order.home, order, told, now, subject=order.message_id)
        audit = self._audit(told, actor, "redrive", order.message_id, "", attempt=order.redrive)
        await self._write([again], audit)
        COMMANDS.labels("redrive").inc()
        return told

    async def erase(self, names: Sequence[str], erasure_id: str, actor: str, reason: str, at: datetime) -> None:
        """That a person is erased, under each of their names: one event a name, which is also the cancel of what waits
        for them (`contracts.consent`). The audit names the erasure and not the person."""
        events = [
            ConsentEvent(
                event_id=event_id("erased", erasure_id, name),
                person_key=name,
                standing="erased",
                source="operator",
                at=at,
                actor=actor,
            )
            for name in names
        ]
        orders = [Output(CONSENT_EVENTS, e.person_key, e.person_key, e, e.event_id, at) for e in events]
        audit = self._audit(erasure_id, actor, "person_erased", erasure_id, reason, names=len(names))
        await self._write(orders, audit)
        COMMANDS.labels("erase_person").inc()

    async def tell_exported(self, person_key: str, actor: str) -> None:
        """That somebody was given what is held of a person; before they get it."""
        await self._write([], self._audit(uuid.uuid4().hex, actor, "person_exported", person_key, ""))

    def _audit(self, command_id: str, actor: str, action: str, subject: str, note: str, **more: Any) -> Output:
        record = AuditRecord(
            audit_id=event_id(command_id, "audit"),
            actor=actor,
            action=action,
            subject=subject,
            at=self._clock.now(),
            details={"command_id": command_id}
            | ({"note": note} if note else {})
            | {name: str(value) for name, value in more.items() if value is not None},
        )
        return Output(AUDIT_LOG, subject, subject, record, record.audit_id, record.at)

    async def _write(self, orders: Sequence[Output], audit: Output) -> None:
        """The audit first: an action without its record must not exist, a record of a command that failed may."""
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_SECONDS):
                writer = self._producer.writer
                await writer.write([audit])
                await writer.write(orders)
        except (KafkaError, TimeoutError, RuntimeError) as error:
            log.error(
                "command_not_acknowledged", topics=[each.topic.name for each in orders], error=type(error).__name__
            )
            raise Problem(
                503,
                "KAFKA_UNAVAILABLE",
                "The command could not be written",
                "It may still take effect: look at the audit log, then repeat it if needed.",
                headers={"Retry-After": "5"},
            ) from None
