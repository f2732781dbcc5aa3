"""A projection whose events Kafka deleted before they were read: it reads what is left, and says what is gone."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from harkara.runtime.faust_component import FaustComponent
from harkara.runtime.settings import ServiceSettings
from tests.integration.runtime_faust import folds
from tests.support.services import running
from tests.support.wait import eventually


async def read_until(settings: ServiceSettings, partition: int, offset: int) -> None:
    """As if the projection had run before and got so far."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap, group_id=settings.kafka.group(folds.GROUP), enable_auto_commit=False
    )
    await consumer.start()
    try:
        place = TopicPartition(settings.kafka.topic(folds.INPUT), partition)
        consumer.assign([place])
        await consumer.commit({place: offset})
    finally:
        await consumer.stop()


async def delete_before(settings: ServiceSettings, firsts: dict[int, int]) -> None:
    """What retention does: each partition begins at that offset from now on."""
    admin = AIOKafkaAdminClient(**settings.kafka.aiokafka_options())
    await admin.start()
    try:
        name = settings.kafka.topic(folds.INPUT)
        await admin.delete_records({TopicPartition(name, n): RecordsToDelete(first) for n, first in firsts.items()})
    finally:
        await admin.close()


def expired() -> float:
    return REGISTRY.get_sample_value("harkara_projection_expired_total", {"projection": folds.GROUP}) or 0.0


async def test_events_that_kafka_deleted_unread_are_told_and_the_rest_is_folded(on_topics: ServiceSettings) -> None:
    await folds.feed(on_topics, [folds.record(n) for n in range(10)])  # the even ones in partition 0, five in each
    await read_until(on_topics, 0, 2)
    await delete_before(on_topics, {0: 4, 1: 3})
    before = expired()
    with capture_logs() as logs:
        async with running([FaustComponent(on_topics, folds.GROUP, folds.keep_and_count)]) as (task,):
            await eventually(folds.expect_published(on_topics, {"s8", "s7", "s9"}, task), timeout_seconds=60)

            async def all_committed() -> bool:
                return await folds.committed(on_topics) == 10

            await eventually(all_committed, timeout_seconds=20)
            assert not task.done()
    told = {(each["event"], each["log_level"], each["partition"], each["first"]) for each in logs if "first" in each}
    assert told == {
        ("events_expired_unread", "error", 0, 4),
        ("reading_begins_after_expired_events", "warning", 1, 3),
    }
    assert expired() - before == 2, "offsets 2 and 3 of partition 0: those before were folded, in 1 nobody knows"


async def test_a_loss_is_counted_once_though_every_rebalance_finds_it_again(on_topics: ServiceSettings) -> None:
    await folds.feed(on_topics, [folds.record(n) for n in range(10)])
    await read_until(on_topics, 0, 2)
    await delete_before(on_topics, {0: 5})  # all of it: no event is left that would move the committed offset
    before = expired()
    component = FaustComponent(on_topics, folds.GROUP, folds.keep_and_count)
    async with running([component]) as (task,):
        await eventually(lambda: component.ready() is None, timeout_seconds=60)
        assert component._app is not None
        await component._app.consumer.perform_seek()
        assert not task.done()
    assert expired() - before == 3
