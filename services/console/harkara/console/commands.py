"""What operators tell the system: each command is written to its topic, and to the audit log, before it is answered."""

from __future__ import annotations

import asyncio
import uuid
from typing import Literal

import structlog
from aiokafka.errors import KafkaError

from harkara.console.metrics import COMMANDS
from harkara.contracts.audit import AuditRecord
from harkara.contracts.commands import SendCommand
from harkara.contracts.event import event_id
from harkara.contracts.numbers import NumberCommand
from harkara.contracts.topics import AUDIT_LOG, NUMBER_COMMANDS, SEND_COMMANDS
from harkara.runtime.clock import Clock
from harkara.runtime.kafka import Output
from harkara.runtime.problems import Problem
from harkara.runtime.service import ProducerComponent

ACKNOWLEDGED_WITHIN_SECONDS = 10.0  # what a person waits for a button; Kafka normally takes milliseconds

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
        await self._write(order, self._audit(command.command_id, actor, f"{kind}_number", phone_number_id, note))
        COMMANDS.labels(kind).inc()
        return command.command_id

    async def cancel(self, message_id: str, home: str, actor: str) -> str:
        """Cancel a message; returns the command's id, the same for every repetition by the same caller."""
        command = SendCommand(
            command_id=event_id("cancel_message", message_id, actor),
            home=home,
            kind="cancel_message",
            target=message_id,
            actor=actor,
            at=self._clock.now(),
        )
        order = Output(SEND_COMMANDS, home, home, command, command.command_id, command.at, subject=message_id)
        await self._write(order, self._audit(command.command_id, actor, "cancel_message", message_id, ""))
        COMMANDS.labels("cancel_message").inc()
        return command.command_id

    def _audit(self, command_id: str, actor: str, action: str, subject: str, note: str) -> Output:
        record = AuditRecord(
            audit_id=event_id(command_id, "audit"),
            actor=actor,
            action=action,
            subject=subject,
            at=self._clock.now(),
            details={"command_id": command_id} | ({"note": note} if note else {}),
        )
        return Output(AUDIT_LOG, subject, subject, record, record.audit_id, record.at)

    async def _write(self, order: Output, audit: Output) -> None:
        """The audit first: an action without its record must not exist, a record of a command that failed may."""
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_SECONDS):
                writer = self._producer.writer
                await writer.write([audit])
                await writer.write([order])
        except (KafkaError, TimeoutError, RuntimeError) as error:
            log.error("command_not_acknowledged", action=order.topic.name, error=type(error).__name__)
            raise Problem(
                503,
                "KAFKA_UNAVAILABLE",
                "The command could not be written",
                "It may still take effect: look at the audit log, then repeat it if needed.",
                headers={"Retry-After": "5"},
            ) from None
