"""One portfolio, two homes, two dispatchers, and everybody is killed once: never a person above the messaging limit."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harkara.contracts.intents import DEFAULT_LIFE
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.topics import MESSAGE_LIFECYCLE
from tests.integration.dispatcher.sick_numbers import change, refused
from tests.integration.dispatcher.stack import ONE, TWO, Process, Stack, order, stack
from tests.support.wait import eventually

LIMIT = 50  # Meta's smallest, and the simulator's
PER_NUMBER = 40
OVERLAP = 20
PORTFOLIO = "300000000000001"
LIFE = DEFAULT_LIFE.total_seconds()
FAST = {"HARKARA_GROUP_SESSION_TIMEOUT_SECONDS": "6", "HARKARA_BROKER_SESSION_TIMEOUT_SECONDS": "6"}
CALLED = ("submitted", "in_doubt", "unknown")


def limited(made: Stack) -> None:
    """The portfolio's limit, by the policy and by Meta; numbers so slow that a kill comes in the middle."""
    path = made.folder / "governance.yaml"
    text = path.read_text("utf-8").replace("    token_env:", "    profile: slow\n    token_env:")
    text += f'profiles: {{slow: {{per_second: 12}}}}\nportfolios: [{{id: "{PORTFOLIO}", limit: {LIMIT}}}]\n'
    path.write_text(text, "utf-8")


def person(number: int) -> str:
    return f"+9199999{65000 + number}"


async def held(made: Stack) -> dict[str, MessageLifecycle]:
    """Of each message that is held, the newest word on it."""
    states = await made.states()
    found: dict[str, MessageLifecycle] = {}
    for event in await made.events(MESSAGE_LIFECYCLE):
        if event.status == "held" == states[event.message_id]["status"]:
            known = found.setdefault(event.message_id, event)
            found[event.message_id] = max(known, event, key=lambda each: each.rank or 0)
    return found


async def killed_and_back(made: Stack, process: Process, name: str) -> Process:
    """Gone without a word, and started again."""
    process.signal(signal.SIGKILL)
    await process.ended()
    return await made.start(name, process.name, **FAST)


@pytest.mark.req("B7")
async def test_two_dispatchers_and_kills_never_exceed_the_limit(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with stack(kafka_bootstrap, topic_prefix, tmp_path, HARKARA_SIM_LATENCY_MS="40") as made:
        limited(made)
        await change(made, f"portfolios/{PORTFOLIO}", messaging_limit="TIER_50")
        monitor = await made.start("quality-monitor", "quality-0", **FAST)
        first = await made.start("dispatcher", "dispatcher-0", **FAST)
        second = await made.start("dispatcher", "dispatcher-1", **FAST)
        one = [order(f"one-{n:05}", (ONE,), to=person(n), life_seconds=LIFE) for n in range(PER_NUMBER)]
        shift = PER_NUMBER - OVERLAP
        two = [order(f"two-{n:05}", (TWO,), to=person(shift + n), life_seconds=LIFE) for n in range(PER_NUMBER)]
        person_of = {each.message_id: each.to for each in (*one, *two)}
        await made.send([*one, *two])

        async def some(count: int) -> bool:
            return len(await made.ledger()) >= count

        await eventually(lambda: some(5), timeout_seconds=60)
        monitor = await killed_and_back(made, monitor, "quality-monitor")
        await eventually(lambda: some(15), timeout_seconds=60)
        second = await killed_and_back(made, second, "dispatcher")
        await eventually(lambda: some(30), timeout_seconds=60)
        first = await killed_and_back(made, first, "dispatcher")

        async def full() -> bool:
            statuses = await made.statuses()
            waiting = {person_of[each] for each, status in statuses.items() if status == "held"}
            called = {person_of[each] for each, status in statuses.items() if status in CALLED}
            settled = len(waiting | called) == len(set(person_of.values())) and not waiting & called
            return settled and len(called) == LIMIT and set(statuses.values()) <= {"held", *CALLED}

        await eventually(full, timeout_seconds=60, every=0.5)
        assert len({each["to"] for each in await made.ledger()}) <= LIMIT
        a_day_on = datetime.now(UTC) + timedelta(days=1)
        waiting = (await held(made)).values()
        assert waiting
        for word in waiting:
            assert word.reason is not None and word.reason.code == "portfolio_limit", word
            assert word.decision is not None and word.decision.inputs["kind"] == "place", word
            assert word.hold_until is not None and abs(word.hold_until - a_day_on) < timedelta(minutes=5), word
            ends = next(each.expires_at for each in (*one, *two) if each.message_id == word.message_id)
            assert word.hold_until < ends - timedelta(hours=1), "whoever waits for a place goes, by default"

        counted = next(each["to"] for each in await made.ledger() if each["phone_number_id"] == ONE)
        repeats = [order(f"again-{sender[-5:]}", (sender,), to=f"+{counted}") for sender in (ONE, TWO)]
        await made.send([*repeats, order("new-00001", (ONE,), to=person(99))])
        await eventually(lambda: made.all_are([each.message_id for each in repeats], "submitted"), timeout_seconds=30)
        await eventually(lambda: made.all_are(["new-00001"], "held"), timeout_seconds=30)
        late = (await made.states())["new-00001"]["reason"]
        assert late["code"] == "portfolio_limit_too_late" and "it will expire" in late["text"], "it lives ten minutes"
        accepted = await made.accepted()
        assert max(accepted.values()) == 1
        assert len({each["to"] for each in await made.ledger()}) <= LIMIT
        assert await refused(made, 131048) == 0, "Meta itself never had to say no"
