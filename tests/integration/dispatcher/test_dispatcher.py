"""One dispatcher on a real broker: orders in, calls out, lifecycle events, in the simulator's ledger once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harkara.contracts.consent import ConsentState
from harkara.contracts.event import event_id
from harkara.contracts.numbers import NumberState, QueueState
from harkara.contracts.partition import partition_for
from harkara.contracts.persons import PersonAlias, alias_record_key
from harkara.contracts.topics import (
    CONSENT_STATE,
    DISPATCH_JOURNAL,
    DISPATCH_ORDERS,
    NUMBER_EVENTS,
    NUMBER_STATE,
    PERSON_IDENTITIES,
    QUEUE_STATE,
)
from harkara.dispatcher.journal import EMITTED
from harkara.dispatcher.lane import LAZY_COMMIT_SECONDS
from tests.integration.dispatcher.stack import (
    NUMBERS,
    ONE,
    PARTITIONS,
    PARTNER,
    POOLED,
    TWO,
    Stack,
    order,
    stack,
)
from tests.support.kafka import produce, read_all
from tests.support.wait import eventually


@pytest.mark.req("DSP-1")
async def test_an_order_is_accepted_once_and_every_step_is_told(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        await made.dispatcher()
        await made.send([order("message-1"), order("message-1"), order("message-2", ("100000000000012",))])
        await eventually(lambda: made.all_are(["message-1", "message-2"], "submitted"))
        assert await made.accepted() == {"message-1": 1, "message-2": 1}
        state = (await made.states())["message-1"]
        assert set(state["first_seen"]) == {"queued", "attempting", "submitted"}
        assert state["phone_number_id"] == ONE
        assert state["wamid"] in {entry["wamid"] for entry in await made.ledger()}


@pytest.mark.req("DSP-1")
async def test_a_lane_with_nothing_to_do_writes_nothing(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """The mark of what was emitted is an entry too, and asks for no other mark."""
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        await made.dispatcher()
        journal = made.settings.kafka.topic(DISPATCH_JOURNAL)
        await made.send([order("message-1")])
        await eventually(lambda: made.all_are(["message-1"], "submitted"))

        async def written() -> list[bytes | None]:
            return [record.key for record in await read_all(kafka_bootstrap, journal)]

        async def is_marked() -> bool:
            return (await written())[-1] == EMITTED.encode()

        await eventually(is_marked)
        await asyncio.sleep(1.5 * LAZY_COMMIT_SECONDS)  # what that mark's own round left
        before = await written()
        await asyncio.sleep(3 * LAZY_COMMIT_SECONDS)
        assert await written() == before


async def test_what_is_no_order_is_quarantined_and_blocks_nothing(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        await made.dispatcher()
        topic = made.settings.kafka.topic(DISPATCH_ORDERS)
        partition = partition_for(ONE, PARTITIONS)
        await produce(kafka_bootstrap, topic, [(ONE.encode(), b"{not an order")], partition=partition)
        elsewhere = order("message-2")
        wrong = (partition + 1) % PARTITIONS
        await produce(
            kafka_bootstrap, topic, [(b"x", elsewhere.model_dump_json(exclude_none=True).encode())], partition=wrong
        )
        await made.send([order("message-1")])
        await eventually(lambda: made.all_are(["message-1"], "submitted"))

        async def both_are_there() -> bool:
            return len(await read_all(kafka_bootstrap, made.settings.kafka.topic(DISPATCH_ORDERS.dlq))) == 2

        await eventually(both_are_there)
        assert await made.accepted() == {"message-1": 1}


async def test_a_halted_number_gives_its_messages_to_its_pool_and_a_refusal_keeps_a_message(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        await made.dispatcher()
        await say(made, POOLED, "halted", 1)
        await say(made, ONE, "halted", 1)
        await eventually(lambda: knows_of(made))
        await made.send([order(f"pooled-{n:02}", (POOLED, PARTNER), to=f"+9199999{65000 + n}") for n in range(20)])
        await made.send([order("waiting-1")])
        pooled = [f"pooled-{n:02}" for n in range(20)]
        await eventually(lambda: made.all_are(pooled, "submitted"))
        assert {entry["phone_number_id"] for entry in await made.ledger()} == {PARTNER}
        await eventually(lambda: made.all_are(["waiting-1"], "held"))
        await say(made, ONE, "open", 2)
        await eventually(lambda: made.all_are(["waiting-1"], "submitted"))
        await made.send([order("refused-1", (TWO,), to="+919999950041")])  # the simulator's 401 by suffix
        await eventually(lambda: made.all_are(["refused-1"], "held"))

        async def halt_is_told() -> bool:
            events = await made.events(NUMBER_EVENTS)
            return any(each.kind == "halted" and each.phone_number_id == TWO for each in events)

        await eventually(halt_is_told)

        async def queue_is_shown() -> bool:
            states = {each.phone_number_id: each for each in await made.events(QUEUE_STATE)}
            return TWO in states and states[TWO].verdict == "halted" and states[TWO].held == 1

        await eventually(queue_is_shown)


@pytest.mark.req("ING-12")
async def test_a_new_owner_tells_how_every_number_stands(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Nothing was ever sent; the owner before it said otherwise and is gone."""
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        values = dict.fromkeys(("queued", "scheduled", "in_flight", "in_doubt", "sent_last_minute", "sent_today"), 0)
        said = QueueState(phone_number_id=ONE, home=ONE, held=1500, updated_at=datetime.now(UTC), **values)
        await made.write(QUEUE_STATE, [(ONE, ONE, said, None)])
        await made.dispatcher()

        async def all_are_told() -> bool:
            states = {each.phone_number_id: each.held for each in await made.events(QUEUE_STATE)}
            return states == dict.fromkeys(NUMBERS, 0)

        await eventually(all_are_told, timeout_seconds=20)


async def say(made: Stack, number: str, verdict: str, version: int) -> None:
    """The number's state, as quality-monitor writes it."""
    state = NumberState.model_validate(
        {"phone_number_id": number, "home": NUMBERS[number], "version": version, "verdict": verdict,
         "updated_at": datetime.now(UTC)}
    )  # fmt: skip
    await made.write(NUMBER_STATE, [(state.home, number, state, None)])


async def knows_of(made: Stack) -> bool:
    """Whether the dispatcher shows both halts in its queue states."""
    states = {each.phone_number_id: each.verdict for each in await made.events(QUEUE_STATE)}
    return states.get(POOLED) == "halted" and states.get(ONE) == "halted"


async def test_no_call_is_made_for_a_person_who_refused(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        refusing = order("message-1", category="marketing", to="+919999955001")
        word = {"standing": "opted_out", "at": datetime.now(UTC), "event_id": "e1"}
        consent = ConsentState.model_validate({"person_key": refusing.person_key, "marketing": word})
        await made.write(CONSENT_STATE, [(refusing.person_key, refusing.person_key, consent, None)])
        await made.dispatcher()
        await made.send([refusing, order("message-2", category="marketing", to="+919999955002")])
        await eventually(lambda: made.all_are(["message-1"], "cancelled"))
        await eventually(lambda: made.all_are(["message-2"], "submitted"))
        assert await made.accepted() == {"message-2": 1}


@pytest.mark.req("B17", "CMP-2")
async def test_an_opt_out_under_the_user_id_stops_what_is_queued_by_phone_and_a_user_id_is_written_to(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Whichever comes first; and nothing of it depends on the guard, which writes the word under the phone too."""
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        await say(made, ONE, "paused", 1)
        await made.dispatcher()
        waiting = [order(f"message-{n}", to=f"+91999995600{n}") for n in range(3)]
        user_ids = [event_id("user id", each.person_key) for each in waiting]
        links = [
            PersonAlias(person_key=each.person_key, alias_key=user_id, kind="user_id", at=datetime.now(UTC))
            for each, user_id in zip(waiting, user_ids, strict=True)
        ]
        await made.send(waiting)
        by_id = {"to": None, "user_id": "IN.20450000919999956009", "person_key": event_id("user id", "somebody")}
        await made.send([order("message-4").model_copy(update=by_id)])
        held = [f"message-{n}" for n in (0, 1, 2, 4)]
        await eventually(lambda: made.all_are(held, "held"))
        await link(made, links[0])
        word = {"standing": "opted_out", "at": datetime.now(UTC), "event_id": "e1"}
        for user_id in user_ids[:2]:
            consent = ConsentState.model_validate({"person_key": user_id, "transactional": word})
            await made.write(CONSENT_STATE, [(user_id, user_id, consent, None)])
        await eventually(lambda: made.all_are(["message-0"], "cancelled"))
        await link(made, links[1])
        await link(made, links[2])
        await eventually(lambda: made.all_are(["message-1"], "cancelled"))
        await say(made, ONE, "open", 2)
        await eventually(lambda: made.all_are(["message-2", "message-4"], "submitted"))
        assert await made.accepted() == {"message-2": 1, "message-4": 1}
        (entry,) = [each for each in await made.ledger() if each["opaque"] == "message-4.1"]
        assert (entry["to"], entry["user_id"]) == ("919999956009", "IN.20450000919999956009")


async def link(made: Stack, alias: PersonAlias) -> None:
    """Two names of one person, as the normaliser tells them."""
    await made.write(PERSON_IDENTITIES, [(alias.person_key, alias_record_key(alias), alias, None)])


async def test_a_lost_answer_is_in_doubt_until_a_status_names_it(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path) as made:
        await made.dispatcher()
        await made.send([order("message-1", to="+919999950004"), order("message-2", to="+919999950005")])
        await eventually(lambda: made.all_are(["message-1", "message-2"], "in_doubt"))
        (entry,) = [each for each in await made.ledger() if each["opaque"] == "message-1.1"]
        await made.echo("message-1", ONE, 1, entry["wamid"])
        await eventually(lambda: made.all_are(["message-1"], "sent"))
        await eventually(lambda: made.all_are(["message-2"], "unknown"), timeout_seconds=40)
        assert await made.accepted() == {"message-1": 1, "message-2": 1}
