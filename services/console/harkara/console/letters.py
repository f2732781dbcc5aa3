"""Redriving a dead letter: the order on `dispatch-orders-dlq`, written to its topic again as it stands there.

Its lane lets the message go on from the attempt after which it failed, once however often this is repeated, and only
where Meta surely has no attempt of it (`contracts.intents.DispatchOrder.redrive`).
"""

from __future__ import annotations

import asyncio

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from fastapi import APIRouter

from harkara.console.access import Caller
from harkara.console.answers import Accepted
from harkara.console.routes import PROBLEMS, AsCaller, AtDesk, Desk, not_found
from harkara.console.settings import Settings
from harkara.contracts.envelope import Envelope, Undecodable, decode, header
from harkara.contracts.intents import DispatchOrder
from harkara.contracts.topics import DISPATCH_ORDERS
from harkara.runtime.kafka import start_consumer
from harkara.runtime.problems import Problem

READ_WITHIN_SECONDS = 10.0  # a person waits for a button; Kafka normally takes milliseconds

letters = APIRouter(prefix="/api/v1", responses=PROBLEMS)


@letters.post("/dead-letters/dispatch-orders-dlq/{partition}/{offset}/redrive", status_code=202)
async def redrive(partition: int, offset: int, desk: AtDesk, caller: AsCaller) -> Accepted:
    """Let the message of this dead letter go on. 409 NOT_REDRIVABLE where it is no order, or Meta may have the message;
    409 TOO_LATE after its deadline. What comes of it is seen on the message."""
    envelope, order = await _order(desk, caller, partition, offset)
    if order.redrive is None:
        detail = "An older attempt of it is of unknown fate: sending again could reach the person twice."
        raise Problem(409, "NOT_REDRIVABLE", "The dead letter cannot be redriven", detail)
    if order.expires_at <= desk.clock.now():
        raise Problem(409, "TOO_LATE", "The message's deadline has passed", "Write a new intent instead.")
    return Accepted(command_id=await desk.commands.redrive(order, envelope.id, caller.key.id))


async def _order(desk: Desk, caller: Caller, partition: int, offset: int) -> tuple[Envelope, DispatchOrder]:
    record = await read_letter(desk.settings, partition, offset)
    if record is None:
        raise not_found("dead letter")
    try:
        envelope = decode(DISPATCH_ORDERS.events, record.value, list(record.headers), fallback_id="none")
    except Undecodable:
        raise Problem(409, "NOT_REDRIVABLE", "The dead letter cannot be redriven", "It is no order.") from None
    order = envelope.event
    assert isinstance(order, DispatchOrder)
    if caller.home not in (None, order.home) or header(list(record.headers), "dlq-reason") is None:
        raise not_found("dead letter")
    return envelope, order


async def read_letter(settings: Settings, partition: int, offset: int) -> ConsumerRecord | None:
    """The record there, None where there is none (any more). Raises Problem 503 where Kafka does not answer."""
    where = TopicPartition(settings.kafka.topic(DISPATCH_ORDERS.dlq), partition)
    try:
        async with asyncio.timeout(READ_WITHIN_SECONDS):
            consumer = await start_consumer(settings)
            try:
                if not 0 <= partition < settings.partitions:
                    return None
                consumer.assign([where])
                first, end = (
                    (await consumer.beginning_offsets([where]))[where],
                    (await consumer.end_offsets([where]))[where],
                )
                if not first <= offset < end:
                    return None
                consumer.seek(where, offset)
                record = await consumer.getone(where)
                return record if record.offset == offset else None
            finally:
                await consumer.stop()
    except (KafkaError, TimeoutError):
        raise Problem(
            503, "KAFKA_UNAVAILABLE", "The dead letter could not be read", headers={"Retry-After": "5"}
        ) from None
