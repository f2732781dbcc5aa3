"""STOP in the middle of a run: what it takes until no call to that person starts, with every service a process.

The scenario is a function of its seed, so that a campaign may play it as often as it likes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson

from harkara.contracts.envelope import decode
from harkara.contracts.event import event_id
from harkara.contracts.intents import SendIntent
from harkara.contracts.lifecycle import ENDS, State, advance
from harkara.contracts.topics import MESSAGE_LIFECYCLE, SEND_INTENTS, Topic
from harkara.devstack.dev_environment import SERVICES, Instance
from harkara.devstack.stack import Stack
from harkara.graph_api.signature import HEADER, sign
from harkara.runtime.kafka import Output
from tests.support.kafka import read_all
from tests.support.services import GOVERNANCE_FILE, write
from tests.support.wait import eventually

SENDERS = ("100000000000001", "advisors")
NUMBERS = 3  # one of its own, two in the pool
RATE = 100  # messages a second, over all numbers
NEEDED = frozenset({"ingestion", "compliance-guard", "window-router", "dispatcher"})
PARTS: tuple[Instance, ...] = tuple(each for each in SERVICES if each.service in NEEDED)


def paced_governance(folder: Path) -> Path:
    """The demo's policy, its numbers together at the rate of the run."""
    text = GOVERNANCE_FILE.read_text("utf-8")
    profile = f"  campaign: {{per_second: {-(-RATE // NUMBERS)}}}\n"
    head, _, tail = text.partition("\nprofiles:\n")
    text = f"{head}\nprofiles:\n{profile}{tail}" if tail else f"{text}\nprofiles:\n{profile}"
    path = folder / "paced.yaml"
    lines = (
        f"{line.partition('profile:')[0]}profile: campaign" if line.strip().startswith("profile:") else line
        for line in text.splitlines()
    )
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Stopped:
    """One STOP. Milliseconds count from the webhook's 200; less than 0 where the answer to it was faster than that."""

    seed: int
    messages: int
    to_person: int
    called: int
    last_call_ms: float | None
    cancelled: int
    confirmed_ms: float

    def __str__(self) -> str:
        last = "none after" if self.last_call_ms is None else f"last call {self.last_call_ms:.0f} ms after"
        return (
            f"seed {self.seed}: STOP in a run of {self.messages} at {RATE}/s: {last} the webhook's 200; of "
            f"{self.to_person} to the person {self.called} were called, {self.cancelled} cancelled; confirmed after "
            f"{self.confirmed_ms:.0f} ms"
        )


def run_of(seed: int, messages: int, every: int) -> tuple[str, list[SendIntent]]:
    """The person, and the run: each `every`-th message is for the person, by either sender in turn.

    The last four digits of all are above 1000: lower ones choose fates in the simulator.
    """
    person = f"+9199999{65_000 + seed:05}"
    intents = []
    for row in range(messages):
        to = person if row % every == 0 else f"+9199999{(71_000 + (seed * messages + row) % 8_000):05}"
        fields: dict[str, Any] = {
            "message_id": f"stop-{seed}-{row:05}",
            "sender": SENDERS[(row // every + row) % 2],
            "to": to,
            "category": "utility",
            "content": {"type": "template", "name": "daily_update", "language": "en", "body": ["Asha", "report"]},
            "run_id": f"stop-{seed}",
            "producer": "tests",
        }
        intents.append(SendIntent.model_validate(fields))
    return person, intents


async def stop_in_the_middle(stack: Stack, seed: int, messages: int = 400, every: int = 5) -> Stopped:
    """Send the run, say STOP somewhere in its middle, and wait until all of it has ended. Fails where a message was
    called twice, one was lost, one was cancelled without a reason, or there was not one confirmation."""
    person, intents = run_of(seed, messages, every)
    now = datetime.now(UTC)
    run = [Output(SEND_INTENTS, each.sender, each.sender, each, event_id(each.message_id), now) for each in intents]
    url = stack.endpoints.url("graph-simulator")
    async with httpx.AsyncClient(trust_env=False, timeout=20, base_url=url) as http:
        await http.post("/_simulator/config", json={"window": "off"})  # it does not know of the STOP that we are sent
        before = (await http.get("/_simulator/stats")).json()["accepted"]
        middle = before + int(Random(seed).uniform(0.2, 0.7) * messages)
        await write(stack.settings("tests"), run)

        async def is_the_middle() -> bool:
            return bool((await http.get("/_simulator/stats")).json()["accepted"] >= middle)

        await eventually(is_the_middle, timeout_seconds=60, every=0.02)
        wamid, answered_ms = await say_stop(stack, seed, person)
        ids = [each.message_id for each in intents]

        async def all_over() -> bool:
            return all(state["status"] in ENDS for state in (await states_of(stack, ids)).values())

        await eventually(all_over, timeout_seconds=90, every=0.5)
        confirmation = "c-" + event_id(wamid, "confirmation")

        async def confirmed() -> bool:
            return any(each["opaque"] == f"{confirmation}.1" for each in await ledger(http, before))

        await eventually(confirmed, timeout_seconds=30, every=0.2)
        calls = await ledger(http, before)
    return await judged(stack, seed, intents, calls, answered_ms, person)


async def say_stop(stack: Stack, seed: int, person: str) -> tuple[str, float]:
    """The webhook of the person's STOP, as Meta sends it: its message's id, and when it was answered 200."""
    now, digits = datetime.now(UTC), person.lstrip("+")
    wamid = f"wamid.STOP{seed}.{now.timestamp():.0f}"
    message = {"from": digits, "id": wamid, "timestamp": f"{now.timestamp():.0f}", "type": "text"}
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "919999900001", "phone_number_id": SENDERS[0]},
        "contacts": [{"wa_id": digits, "profile": {"name": "Somebody"}}],
        "messages": [message | {"text": {"body": "STOP"}}],
    }
    entry = {"id": "200000000000001", "changes": [{"field": "messages", "value": value}]}
    raw = orjson.dumps({"object": "whatsapp_business_account", "entry": [entry]})
    headers = {HEADER: sign(stack.secrets.app_secret, raw)}
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        answer = await http.post(f"{stack.endpoints.url('ingestion')}/webhooks/meta", content=raw, headers=headers)
    answered_ms = 1000 * datetime.now(UTC).timestamp()
    assert answer.status_code == 200, answer.text
    return wamid, answered_ms


async def judged(
    stack: Stack, seed: int, intents: Sequence[SendIntent], calls: list[dict[str, Any]], answered_ms: float, person: str
) -> Stopped:
    """What came of it."""
    states = await states_of(stack, [each.message_id for each in intents])
    by_message = Counter(each["opaque"].partition(".")[0] for each in calls)
    mine = [each.message_id for each in intents if each.to == person]
    called = [message for message in mine if by_message[message]]
    cancelled = [message for message in mine if states[message]["status"] in ("cancelled", "rejected")]
    assert all(by_message[each.message_id] == 1 for each in intents if each.to != person), f"seed {seed}: lost or twice"
    assert set(called).isdisjoint(cancelled) and len(called) + len(cancelled) == len(mine), f"seed {seed}: {states}"
    for message in cancelled:
        reason = states[message]["reason"]
        assert reason["code"] in ("consent_opted_out", "opted_out") and reason["text"], f"seed {seed}: {reason}"
    to_person = [each for each in calls if each["to"] == person.lstrip("+")]
    answers = [each for each in to_person if each["opaque"].startswith("c-")]
    assert len(answers) == 1 and answers[0]["type"] == "text", f"seed {seed}: {len(answers)} confirmations"
    late = [each["accepted_at_ms"] - answered_ms for each in to_person if not each["opaque"].startswith("c-")]
    after = [each for each in late if each > 0]
    return Stopped(
        seed=seed,
        messages=len(intents),
        to_person=len(mine),
        called=len(called),
        last_call_ms=max(after, default=None),
        cancelled=len(cancelled),
        confirmed_ms=answers[0]["accepted_at_ms"] - answered_ms,
    )


async def ledger(http: httpx.AsyncClient, after: int) -> list[dict[str, Any]]:
    """Everything that the simulator accepted since."""
    entries: list[dict[str, Any]] = []
    while True:
        page = (await http.get("/_simulator/ledger", params={"after": after + len(entries)})).json()["entries"]
        if not page:
            return entries
        entries += page


async def states_of(stack: Stack, message_ids: Sequence[str]) -> dict[str, State]:
    """Each message's state, joined from the lifecycle; one of which nothing is known yet counts as received."""
    states: dict[str, State] = {message: {"status": "received"} for message in message_ids}
    known: dict[str, State] = {}
    for event in await events(stack, MESSAGE_LIFECYCLE):
        if event.message_id in states:
            known[event.message_id] = advance(known.get(event.message_id), event)
    return states | known


async def events(stack: Stack, topic: Topic) -> list[Any]:
    """Every event of a topic."""
    kafka = stack.settings("tests").kafka
    records = await read_all(kafka.bootstrap, kafka.topic(topic))
    return [decode(topic.events, each.value, each.headers, fallback_id="").event for each in records]
