"""The process dies at its worst moments: every message is accepted once, or stands in doubt by name."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harkara.dispatcher.failpoints import POINTS
from tests.integration.dispatcher.stack import ONE, POOLED, TWO, Stack, order, stack
from tests.support.wait import eventually

NUMBERS = ((ONE,), (TWO,), (POOLED,))
LATENCY_SECONDS = 0.04
LATENCY = {"HARKARA_SIM_LATENCY_MS": str(int(LATENCY_SECONDS * 1000))}
SETTLED = ("submitted", "in_doubt", "unknown")
PER_SECOND = 10
BUSY_SECONDS = 0.2  # a busy machine: what an answer takes beyond the simulator's latency
HEARD_SECONDS = 1.0  # a signal, by a process that is busy on such a machine; the orders last for nearly four
UNDER_WAY = 1 + 2 + int(PER_SECOND * (LATENCY_SECONDS + BUSY_SECONDS))
"""Calls of one number under way at most. A call is under way from the round that journals it to the end of the round
that journals its outcome: two rounds and the answer's time between them. At 10/s calls are 100 ms apart, further than
pacing makes up for (SPACING_BURST_SECONDS, 50 ms), so a round starts one of a number at most, however long its commit
takes: one for each of the two rounds, one per 100 ms of the answer's time, and the one that was just started."""
MOST_IN_DOUBT = UNDER_WAY * len(NUMBERS) * len(POINTS)
"""Each kill leaves in doubt what was under way, of each number, and nothing of the queue."""


async def check_against_the_ledger(made: Stack, sent: list[str]) -> dict[str, str]:
    """Lost 0, duplicated 0, nothing claimed that is not so; returns the statuses."""
    accepted, states = await made.accepted(), await made.states()
    wamids = {entry["wamid"] for entry in await made.ledger()}
    assert [message_id for message_id, count in accepted.items() if count > 1] == []
    for message_id in sent:
        state = states[message_id]
        if state["status"] == "submitted":
            assert accepted[message_id] == 1
            assert state["wamid"] in wamids
        else:
            assert state["status"] in ("in_doubt", "unknown"), (message_id, state)
    return {message_id: states[message_id]["status"] for message_id in sent}


def slow_down(made: Stack) -> None:
    """Every number calls PER_SECOND times a second."""
    path = made.folder / "governance.yaml"
    text = path.read_text("utf-8").replace("    token_env:", "    profile: slow\n    token_env:")
    path.write_text(f"{text}\nprofiles: {{slow: {{per_second: {PER_SECOND}}}}}\n", "utf-8")


@pytest.mark.req("DSP-1", "DSP-19")
async def test_a_kill_at_every_failpoint(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **LATENCY) as made:
        slow_down(made)
        homes: dict[str, str] = {}
        for point in POINTS:
            dying = await made.start("dispatcher", "dispatcher-0", HARKARA_FAILPOINTS=f"{point}:2:kill")
            orders = [order(f"{point}-{n:02}", NUMBERS[n % 3], to=f"+9199999{65000 + n}") for n in range(30)]
            homes |= {each.message_id: each.home for each in orders}
            await made.send(orders[:15])
            await made.send(orders[15:])
            assert await dying.ended() == -signal.SIGKILL
        await made.dispatcher()
        sent = list(homes)
        await eventually(lambda: made.all_are(sent, *SETTLED), timeout_seconds=60, every=0.5)
        statuses = await check_against_the_ledger(made, sent)
        doubtful = [message_id for message_id, status in statuses.items() if status != "submitted"]
        assert len(doubtful) <= MOST_IN_DOUBT < len(sent), len(doubtful)
        accepted = {entry["opaque"].partition(".")[0]: entry for entry in await made.ledger()}
        taken = [message_id for message_id in doubtful if message_id in accepted]
        for message_id in taken:  # what was in fact accepted is settled by Meta's status
            entry = accepted[message_id]
            attempt = int(entry["opaque"].rpartition(".")[2])
            await made.echo(message_id, homes[message_id], attempt, entry["wamid"])
        await eventually(lambda: made.all_are(taken, "sent"), timeout_seconds=30)


async def test_two_processes_share_the_lanes_and_one_is_killed(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **LATENCY) as made:
        fast = {"HARKARA_GROUP_SESSION_TIMEOUT_SECONDS": "6"}
        first = await made.dispatcher("dispatcher-0", **fast)
        second = await made.dispatcher("dispatcher-1", **fast)

        async def shared() -> bool:
            return (
                await first.metric("harkara_dispatcher_lanes") == 2 == await second.metric("harkara_dispatcher_lanes")
            )

        await eventually(shared, timeout_seconds=40)
        orders = [order(f"message-{n:03}", NUMBERS[n % 3], to=f"+9199999{65000 + n}") for n in range(240)]
        sent = [each.message_id for each in orders]
        await made.send(orders[:120])
        second.signal(signal.SIGKILL)
        await made.send(orders[120:])
        await eventually(lambda: made.all_are(sent, *SETTLED), timeout_seconds=60, every=0.5)
        assert await first.metric("harkara_dispatcher_lanes") == 4
        await check_against_the_ledger(made, sent)


async def test_a_frozen_owner_that_wakes_up_is_fenced_and_doubles_nothing(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, **LATENCY) as made:
        fast = {"HARKARA_GROUP_SESSION_TIMEOUT_SECONDS": "6"}
        frozen = await made.dispatcher(HARKARA_FAILPOINTS="after_journal_commit:2:stop", **fast)
        orders = [order(f"message-{n:03}", (ONE,), to=f"+9199999{65000 + n}") for n in range(60)]
        sent = [each.message_id for each in orders]
        await made.send(orders)
        heir = await made.dispatcher("dispatcher-1", **fast)
        await eventually(lambda: made.all_are(sent, *SETTLED), timeout_seconds=60, every=0.5)
        before = await check_against_the_ledger(made, sent)
        frozen.signal(signal.SIGCONT)

        async def all_with_the_heir() -> bool:
            lanes = await heir.metric("harkara_dispatcher_lanes")
            if frozen.process.returncode is None:
                lanes += await frozen.metric("harkara_dispatcher_lanes")
            return lanes == 4

        await eventually(all_with_the_heir, timeout_seconds=60, every=0.5)
        later = [order(f"later-{n:03}", (ONE,), to=f"+9199999{66000 + n}") for n in range(20)]
        await made.send(later)
        await eventually(lambda: made.all_are([each.message_id for each in later], *SETTLED), timeout_seconds=60)
        after = await check_against_the_ledger(made, sent + [each.message_id for each in later])
        assert all(after[message_id] == status for message_id, status in before.items() if status == "submitted")


@pytest.mark.req("FHL-9")
async def test_sigterm_finishes_what_is_under_way_and_leaves_nothing_in_doubt(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, HARKARA_SIM_LATENCY_MS="800") as made:
        leaving = await made.dispatcher()
        orders = [order(f"message-{n:03}", NUMBERS[n % 3], to=f"+9199999{65000 + n}") for n in range(900)]
        sent = [each.message_id for each in orders]
        await made.send(orders)
        await eventually(lambda: leaving_has_calls(made))
        leaving.signal(signal.SIGTERM)
        told = datetime.now(UTC).timestamp()
        assert await leaving.ended() == 0
        newest = max(each["accepted_at_ms"] for each in await made.ledger()) / 1000
        assert newest - told <= HEARD_SECONDS, "a call began after SIGTERM"
        assert len(await made.ledger()) < len(sent), "it was told so with messages still waiting"
        assert "in_doubt" not in (await made.statuses()).values()
        await made.dispatcher()
        await eventually(lambda: made.all_are(sent, "submitted"), timeout_seconds=60, every=0.5)
        await check_against_the_ledger(made, sent)


async def leaving_has_calls(made: Stack) -> bool:
    """Whether some calls have been answered while others are under way."""
    return bool(await made.ledger())
