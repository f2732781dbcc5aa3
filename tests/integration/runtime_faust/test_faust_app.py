"""Faust projections on a real broker: what Faust alone would acknowledge and lose is not lost here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from faust.types import TP, Message

from harkara.contracts.audit import AuditRecord
from harkara.contracts.commands import SendCommand
from harkara.contracts.envelope import header
from harkara.contracts.topics import SEND_COMMANDS, Topic
from harkara.runtime.faust_app import ProjectionApp, new_app
from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.loop import Incoming
from harkara.runtime.settings import ServiceSettings
from tests.integration.runtime_faust.folds import (
    AT,
    GROUP,
    INPUT,
    PARTITIONS,
    STATE,
    committed,
    create,
    expect_published,
    feed,
    keep_and_count,
    published,
    record,
    settings_for,
)
from tests.support.kafka import produce, read_all
from tests.support.services import running
from tests.support.wait import eventually


async def allow_bytes(settings: ServiceSettings, topic: Topic, limit: int) -> None:
    admin = AIOKafkaAdminClient(**settings.kafka.aiokafka_options())
    await admin.start()
    resource = ConfigResource(
        ConfigResourceType.TOPIC,
        settings.kafka.topic(topic),
        configs={"max.message.bytes": str(limit), "cleanup.policy": "compact"},
    )
    await admin.alter_configs([resource])
    await admin.close()


@pytest.mark.req("ING-19")
async def test_a_refused_changelog_write_ends_the_process_before_the_commit_and_loses_nothing(
    settings: ServiceSettings,
) -> None:
    await create(settings, [INPUT, STATE], **{"max.message.bytes": "1000"})
    await feed(settings, [record(n, "x" * (3000 if n % 5 == 0 else 10)) for n in range(40)])

    with pytest.raises(Exception, match="MessageSizeTooLarge"):
        async with asyncio.timeout(60):
            await FaustComponent(settings, GROUP, keep_and_count).run()
    refused = {f"s{n}" for n in range(0, 40, 5)}
    assert not refused & set(await published(settings))
    assert await committed(settings) == 0

    await allow_bytes(settings, STATE, 1_000_000)
    async with running([FaustComponent(settings, GROUP, keep_and_count)]) as (task,):
        await eventually(expect_published(settings, {f"s{n}" for n in range(40)}, task), timeout_seconds=60)
        assert not task.done()


async def test_an_agent_that_raises_ends_the_process_and_its_event_comes_again(settings: ServiceSettings) -> None:
    await create(settings, [INPUT, STATE])
    await feed(settings, [record(n) for n in range(20)])
    broken = True

    def define(app: ProjectionApp) -> None:
        table = app.projection_table("state", STATE)

        def take(incoming: Incoming) -> None:
            event = incoming.envelope.event
            assert isinstance(event, AuditRecord)
            if broken and event.subject == "s13":
                raise ZeroDivisionError("a bug")
            table.write(incoming.partition, event.subject, {"ids": [event.audit_id]})

        app.fold(INPUT, take)

    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(60):
            await FaustComponent(settings, GROUP, define).run()
    assert await committed(settings) <= 13

    broken = False
    async with running([FaustComponent(settings, GROUP, define)]) as (task,):
        await eventually(expect_published(settings, {f"s{n}" for n in range(20)}, task), timeout_seconds=60)

        async def all_committed() -> bool:
            return await committed(settings) == 20

        await eventually(all_committed, timeout_seconds=20)


async def test_rows_are_recovered_and_the_highest_version_survives_a_zombies_late_write(
    settings: ServiceSettings,
) -> None:
    await create(settings, [INPUT, STATE])
    await feed(settings, [record(1, subject="s"), record(2, subject="t"), record(3, subject="s")])
    async with running([FaustComponent(settings, GROUP, keep_and_count)]) as (task,):
        await eventually(expect_published(settings, {"s", "t"}, task), timeout_seconds=60)

        async def complete() -> bool:
            return (await published(settings))["s"]["version"] == 2 and await committed(settings) == 3

        await eventually(complete, timeout_seconds=20)
    zombie = orjson.dumps({"ids": ["a-1"], "text": "", "version": 1})
    await produce(settings.kafka.bootstrap, settings.kafka.topic(STATE), [(b"s", zombie)], partition=0)
    assert (await published(settings))["s"]["version"] == 1

    async with running([FaustComponent(settings, GROUP, keep_and_count)]) as (task,):

        async def mended() -> bool:
            return (await published(settings))["s"] == {"ids": ["a-1", "a-3"], "text": "", "version": 2}

        await eventually(mended, timeout_seconds=60)
        assert not task.done()
    assert await committed(settings) == 3


async def test_a_record_that_is_no_event_goes_to_the_dlq_and_blocks_nothing(settings: ServiceSettings) -> None:
    await create(settings, [SEND_COMMANDS, SEND_COMMANDS.dlq, STATE])
    good = SendCommand(command_id="c-1", home="pool-a", kind="cancel_message", target="m-00000001", actor="test", at=AT)
    source = settings.kafka.topic(SEND_COMMANDS)
    await produce(settings.kafka.bootstrap, source, [(b"h", b'{"kind": "cancel_everything"}')], partition=1)
    await produce(settings.kafka.bootstrap, source, [(b"h", good.model_dump_json().encode())], partition=1)

    def define(app: ProjectionApp) -> None:
        table = app.projection_table("state", STATE)

        def take(incoming: Incoming) -> None:
            assert isinstance(incoming.envelope.event, SendCommand)
            table.write(incoming.partition, incoming.envelope.event.target, {"version": 1})

        app.fold(SEND_COMMANDS, take)

    async with running([FaustComponent(settings, GROUP, define)]) as (task,):
        await eventually(expect_published(settings, {"m-00000001"}, task), timeout_seconds=60)
    (kept,) = await read_all(settings.kafka.bootstrap, settings.kafka.topic(SEND_COMMANDS.dlq))
    assert kept.value == b'{"kind": "cancel_everything"}'
    assert "command_id" in (header(kept.headers, "dlq-reason") or "")


async def test_partitions_move_to_a_second_instance_and_back(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    first, second = (settings_for(kafka_bootstrap, topic_prefix, tmp_path, f"test-{n}") for n in range(2))
    await create(first, [INPUT, STATE])
    await feed(first, [record(n, subject=f"s{n}") for n in range(10)])
    one, two = FaustComponent(first, GROUP, keep_and_count), FaustComponent(second, GROUP, keep_and_count)
    async with running([one]) as (running_one,):
        await eventually(lambda: one.ready() is None, timeout_seconds=60)
        async with running([two]) as (running_two,):
            await eventually(lambda: one.ready() is None and two.ready() is None, timeout_seconds=60)
            await feed(first, [record(100 + n, subject=f"s{n}") for n in range(10)])

            async def all_joined() -> bool:
                return sorted(row["version"] for row in (await published(first)).values()) == [2] * 10  # type: ignore[type-var]

            await eventually(all_joined, timeout_seconds=60)
            assert not running_two.done()
        await feed(first, [record(200 + n, subject=f"s{n}") for n in range(10)])

        async def all_three() -> bool:
            return sorted(row["version"] for row in (await published(first)).values()) == [3] * 10  # type: ignore[type-var]

        await eventually(all_three, timeout_seconds=60)
        assert not running_one.done()


async def test_topics_that_are_created_after_the_start_are_read_and_keep_their_configuration(
    settings: ServiceSettings,
) -> None:
    component = FaustComponent(settings, GROUP, keep_and_count)
    async with running([component]) as (task,):
        await create(settings, [STATE], **{"max.message.bytes": "123456"})
        assert component.ready() is not None
        await create(settings, [INPUT])
        await feed(settings, [record(n) for n in range(4)])
        await eventually(expect_published(settings, {f"s{n}" for n in range(4)}, task), timeout_seconds=60)
    admin = AIOKafkaAdminClient(**settings.kafka.aiokafka_options())
    await admin.start()
    resource = ConfigResource(ConfigResourceType.TOPIC, settings.kafka.topic(STATE), configs={"max.message.bytes": ""})
    (answer,) = await admin.describe_configs([resource])
    await admin.close()
    assert "123456" in str(answer.resources)


async def test_an_event_lost_inside_faust_is_never_committed_past_and_ends_the_process(
    settings: ServiceSettings,
) -> None:
    app = new_app(settings, GROUP)
    partition = TP(settings.kafka.topic(INPUT), 0)
    consumer: Any = app.consumer
    consumer._committed_offset[partition] = 7
    consumer._acked[partition] = [8, 9]
    assert consumer._new_offset(partition) is None
    consumer._acked[partition] = [8, 9, 7]
    assert consumer._new_offset(partition) == 10
    consumer._acked[partition] = [8, 9]
    consumer.missing_seconds = 0.0
    assert consumer._new_offset(partition) is None
    assert consumer._new_offset(partition) is None
    with pytest.raises(RuntimeError, match="fold-in-0-7"):
        await app.failed()
    assert not await app.confirmed()
    await app.close()


async def test_a_batch_that_was_read_and_never_processed_ends_the_process(settings: ServiceSettings) -> None:
    app = new_app(settings, GROUP)
    partition = TP(settings.kafka.topic(INPUT), 0)
    consumer: Any = app.consumer
    consumer._committed_offset[partition], consumer._read_offset[partition] = 7, 7
    consumer.missing_seconds = 0.0
    for _ in range(2):
        consumer._look_for_swallowed(partition)  # just sought: nothing has been read
    assert consumer._missing_since == {}
    consumer._read_offset[partition] = 9
    consumer._look_for_swallowed(partition)
    assert not app.crashed
    consumer._look_for_swallowed(partition)
    with pytest.raises(RuntimeError, match="fold-in-0-7"):
        await app.failed()
    await app.close()


async def test_slow_acknowledgements_are_no_lost_events(settings: ServiceSettings) -> None:
    """An event whose commit waits for Kafka, or that waits for its fold, is not missing, however long it takes."""
    app = new_app(settings, GROUP)
    app.changelogs.acknowledged = never  # type: ignore[method-assign]
    partition = TP(settings.kafka.topic(INPUT), 0)
    consumer: Any = app.consumer
    consumer.missing_seconds = 0.0
    consumer._committed_offset[partition], consumer._read_offset[partition] = 7, 9
    committing = asyncio.create_task(consumer._commit_offsets({partition: 8}))
    await eventually(lambda: bool(consumer._committing == {partition: 8}))
    for _ in range(3):
        consumer._look_for_swallowed(partition)
    assert not app.crashed
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    held = Message(partition.topic, 0, 7, 0.0, 0, {}, None, b"", None, None, None, tp=partition)
    consumer.track_message(held)
    for _ in range(3):
        consumer._look_for_swallowed(partition)
    assert not app.crashed
    consumer.under_way_seconds = 0.0  # nothing holds it up for ever
    consumer._look_for_swallowed(partition)
    with pytest.raises(RuntimeError, match="fold-in-0-7"):
        await app.failed()
    await app.close()


async def never() -> None:
    await asyncio.Event().wait()


async def test_a_backlog_is_folded_whole_where_nothing_is_committed_and_rows_are_recovered(
    settings: ServiceSettings,
) -> None:
    """Faust alone loses an event here about once in ten starts: it fetches while it clears its queues."""
    await create(settings, [INPUT, STATE])
    await feed(settings, [record(n) for n in range(400)])
    for partition in range(PARTITIONS):
        row = orjson.dumps({"ids": [], "text": "", "version": 1})
        await produce(settings.kafka.bootstrap, settings.kafka.topic(STATE), [(b"old", row)], partition=partition)
    async with running([FaustComponent(settings, GROUP, keep_and_count)]) as (task,):
        wanted = {f"s{n}" for n in range(400)} | {"old"}
        try:
            await eventually(expect_published(settings, wanted, task), timeout_seconds=60, every=0.5)
        except AssertionError as error:
            missing = sorted(wanted - set(await published(settings)))
            raise AssertionError(
                f"missing {missing[:20]} of {len(missing)}, committed {await committed(settings)}"
            ) from error
