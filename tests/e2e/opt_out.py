"""STOP in the middle of a run: what it takes until no call to that person starts, with every service a process.

The scenario is a function of its seed, so that a campaign may play it as often as it likes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson

from harkara.contracts.event import event_id
from harkara.contracts.intents import SendIntent
from harkara.contracts.lifecycle import ENDS, State
from harkara.contracts.topics import SEND_INTENTS
from harkara.devstack.dev_environment import SERVICES, Instance
from harkara.devstack.stack import Stack
from harkara.graph_api.signature import HEADER, sign
from harkara.runtime.kafka import Output
from tests.support.lifecycle_tail import LifecycleTail, lifecycle_tail
from tests.support.services import GOVERNANCE_FILE, write
from tests.support.wait import eventually

SENDERS = ("100000000000001", "advisors", "advisors")
NUMBERS = len(SENDERS)  # one of its own, two in the pool: each has a third of the run
RATE = 100  # messages a second, over all numbers
MESSAGES, EVERY = 1_000, 12
"""Of a run, and each so manieth is for the person: 84, of which the 56 of the pool's number stay below what Meta takes
for one pair at once before it has been half sent."""
NEEDED = frozenset({"ingestion", "compliance-guard", "window-router", "dispatcher"})
PARTS: tuple[Instance, ...] = tuple(each for each in SERVICES if each.service in NEEDED)
REASONS = ("consent_opted_out", "opted_out")
ALIKE = 8_999  # invented numbers with one digit before the last four, which are above 1000: lower ones choose fates


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


@dataclass
class Faults:
    """What is not as it must be, by message or in words."""

    twice: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.twice or self.lost or self.wrong)


@dataclass(frozen=True, slots=True)
class Stopped:
    """One STOP. Milliseconds count from the webhook's 200; less than 0 where the answer to it was faster than that."""

    seed: int
    messages: int
    to_person: int
    called: int
    last_call_ms: float | None
    cancelled: int
    confirmed_ms: float | None
    faults: Faults

    def __str__(self) -> str:
        last = "none after" if self.last_call_ms is None else f"last call {self.last_call_ms:.0f} ms after"
        confirmed = "not confirmed" if self.confirmed_ms is None else f"confirmed after {self.confirmed_ms:.0f} ms"
        found = f"; {self.faults}" if self.faults else ""
        return (
            f"seed {self.seed}: STOP in a run of {self.messages} at {RATE}/s: {last} the webhook's 200; of "
            f"{self.to_person} to the person {self.called} were called, {self.cancelled} cancelled; {confirmed}{found}"
        )


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: of 50 values the 99th percentile is the greatest."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def recipient(index: int) -> str:
    """The index-th of some eighty thousand invented numbers, none of which is a person's of `run_of`."""
    return f"+9199999{index // ALIKE % 9}{1_001 + index % ALIKE}"


def run_of(seed: int, messages: int, every: int) -> tuple[str, list[SendIntent]]:
    """The person, and the run: each `every`-th message is for the person, by every sender in turn, and each other one
    for somebody of its own, also over the runs of up to 70 seeds."""
    person = f"+91999999{1_001 + seed}"
    intents = []
    for row in range(messages):
        mine, index = row % every == 0, seed * messages + row
        to = person if mine else recipient(index)
        fields: dict[str, Any] = {
            "message_id": f"stop-{seed}-{row:05}",
            "sender": SENDERS[(row // every if mine else row) % len(SENDERS)],
            "to": to,
            "category": "utility",
            "content": {"type": "template", "name": "daily_update", "language": "en", "body": ["Asha", "report"]},
            "run_id": f"stop-{seed}",
            "producer": "tests",
        }
        intents.append(SendIntent.model_validate(fields))
    return person, intents


async def stop_in_the_middle(stack: Stack, seed: int, messages: int = MESSAGES, every: int = EVERY) -> Stopped:
    """Send the run, say STOP somewhere in its middle, and wait until all of it has ended. What came of it names each
    message that was called twice, is lost, or was cancelled without a reason, and any but one confirmation."""
    person, intents = run_of(seed, messages, every)
    now = datetime.now(UTC)
    run = [Output(SEND_INTENTS, each.sender, each.sender, each, event_id(each.message_id), now) for each in intents]
    settings = stack.settings("tests")
    url = stack.endpoints.url("graph-simulator")
    async with (
        httpx.AsyncClient(trust_env=False, timeout=20, base_url=url) as http,
        lifecycle_tail(settings.kafka) as tail,
    ):
        await http.post("/_simulator/config", json={"window": "off"})  # it does not know of the STOP that we are sent
        before = (await http.get("/_simulator/stats")).json()["accepted"]
        middle = before + int(Random(seed).uniform(0.2, 0.7) * messages)
        await write(settings, run)

        async def is_the_middle() -> bool:
            return bool((await http.get("/_simulator/stats")).json()["accepted"] >= middle)

        await eventually(is_the_middle, timeout_seconds=60, every=0.02)
        wamid, answered_ms = await say_stop(stack, seed, person)
        confirmation = "c-" + event_id(wamid, "confirmation")
        await over(tail, [*(each.message_id for each in intents), confirmation])
        return judged(seed, intents, await ledger(http, before), tail.states, answered_ms, person)


async def over(tail: LifecycleTail, ids: Sequence[str]) -> None:
    """Wait until every message has ended, or no longer: the judgement then names those that have not."""

    async def all_over() -> bool:
        await tail.catch_up()
        return all(tail.states.get(each, {}).get("status") in ENDS for each in ids)

    with suppress(AssertionError):
        await eventually(all_over, timeout_seconds=90, every=0.5)


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


def judged(
    seed: int,
    intents: Sequence[SendIntent],
    calls: Sequence[Mapping[str, Any]],
    states: Mapping[str, State],
    answered_ms: float,
    person: str,
) -> Stopped:
    """What came of it. A call counts from its arrival at the simulator, which is no earlier than its start."""
    times = Counter(str(each["opaque"]).partition(".")[0] for each in calls)
    mine = [each.message_id for each in intents if each.to == person]
    to_person = [each for each in calls if each["to"] == person.lstrip("+")]
    answers = [each for each in to_person if str(each["opaque"]).startswith("c-")]
    since = [each["accepted_at_ms"] - answered_ms for each in to_person if each not in answers]
    return Stopped(
        seed=seed,
        messages=len(intents),
        to_person=len(mine),
        called=sum(times[each] > 0 for each in mine),
        last_call_ms=max((each for each in since if each > 0), default=None),
        cancelled=sum(refusal_of(states.get(each, {})) is not None for each in mine),
        confirmed_ms=answers[0]["accepted_at_ms"] - answered_ms if answers else None,
        faults=faults_of(intents, times, states, answers, person),
    )


def refusal_of(state: State) -> Mapping[str, Any] | None:
    """Why the message was refused or cancelled; None where it was neither."""
    return state.get("reason") or {} if state.get("status") in ("cancelled", "rejected") else None


def faults_of(
    intents: Sequence[SendIntent],
    times: Mapping[str, int],
    states: Mapping[str, State],
    answers: Sequence[Mapping[str, Any]],
    person: str,
) -> Faults:
    """Every message has ended: called once, or for the person, refused with the reason, and never called."""
    faults = Faults()
    for each in intents:
        name, state = each.message_id, states.get(each.message_id, {})
        refusal = refusal_of(state)
        if times[name] > 1:
            faults.twice.append(name)
        if state.get("status") not in ENDS or not (times[name] or (refusal is not None and each.to == person)):
            faults.lost.append(f"{name} ({state.get('status') or 'no event'})")
        if refusal is None:
            continue
        if times[name]:
            faults.wrong.append(f"{name} was called and yet refused")
        if refusal.get("code") not in REASONS or not refusal.get("text"):
            faults.wrong.append(f"{name} is refused for {refusal}")
    if [each["type"] for each in answers] != ["text"]:
        faults.wrong.append(f"{len(answers)} confirmations")
    return faults


async def ledger(http: httpx.AsyncClient, after: int) -> list[dict[str, Any]]:
    """Everything that the simulator accepted since."""
    entries: list[dict[str, Any]] = []
    while True:
        page = (await http.get("/_simulator/ledger", params={"after": after + len(entries)})).json()["entries"]
        if not page:
            return entries
        entries += page
