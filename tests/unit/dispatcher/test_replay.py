"""A journal that is read back makes the state that its entries make one by one, however it was cut by compaction."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.dispatcher.core import recover
from harkara.dispatcher.evolve import evolve
from harkara.dispatcher.glance import glanced
from harkara.dispatcher.journal import (
    EMITTED,
    Entry,
    auth_key,
    cancel_key,
    clock_key,
    command_key,
    conflict_key,
    decoded,
    duplicate_key,
    encoded,
    hold_key,
    pause_key,
    places_key,
    priority_key,
    seen_key,
    spared_key,
    step_key,
    throttle_key,
    watch_key,
)
from harkara.dispatcher.message import Message
from harkara.dispatcher.orders import order_of
from harkara.dispatcher.replay import MOST_STEPS, replay
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import LaneState
from harkara.graph_api.outcome import NotSent
from harkara.policy.pacing import Limits
from tests.unit.dispatcher.lanes import (
    ACCEPTED,
    HOME,
    LEASE,
    ONE,
    START,
    THREE,
    TIMEOUT,
    TWO,
    HandDriven,
    iso,
    order,
    refused,
)

OUTCOMES = (
    ACCEPTED,
    ACCEPTED,
    LEASE,
    NotSent("connect"),
    TIMEOUT,
    refused(131016, 500),
    refused(131047),
    refused(131026),
)
STATUSES = ("queued", "attempting", "attempting", "held", "retrying", "in_doubt", "unknown")


def lived(seed: int) -> HandDriven:
    """A lane that has had orders, answers, statuses, commands, clocks set and owners lost."""
    random, lane = Random(seed), HandDriven(limits=Limits(per_second=4, per_minute=30), capacity=3)
    for n in range(90):
        act, some = random.random(), f"message-{random.randrange(n + 1)}"
        if act < 0.45:
            media = {"form": "session", "session": {"type": "image", "id": "900"}} if act < 0.1 else {}
            lane.take(
                order(f"message-{n}", random.sample((ONE, TWO, THREE), 2), person_key=f"person-{random.randrange(6)}",
                      run_id=random.choice(("run-1", "run-2", None)), at=lane.now, category="marketing", **media)
            )  # fmt: skip
        elif act < 0.7 and lane.under_way:
            lane.answer(random.choice(OUTCOMES), *random.choice(lane.under_way))
        elif act < 0.76 and lane.attempts:
            called = random.choice(lane.attempts)
            lane.echo(*called[:3])
        elif act < 0.80 and lane.attempts:
            called = random.choice(lane.attempts)
            lane.failed(131047, *called[:2], number=called[2])
        elif act < 0.86:
            kind, target = random.choice(
                (("prioritise_run", "run-1"), ("prioritise_message", some), ("cancel_message", some),
                 ("pause_run", "run-2"), ("resume_run", "run-2"))
            )  # fmt: skip
            lane.command(kind, target, **({"priority": random.choice((1, 2, 3))} if "prioritise" in kind else {}))
        elif act < 0.88:
            lane.verdict(random.choice((ONE, TWO)), random.choice(("open", "halted")), n + 1)
        elif act < 0.90:
            step = random.choice((-30.0, -2.0, 5.0))
            lane.now += step
            lane.write(lambda scribe, step=step: scribe.clock_set(step))  # type: ignore[misc]
        elif act < 0.92:
            lane.now += random.choice((-90.0, 0.0))  # a step between two owners, that nobody wrote down
            lane.crash()
        else:
            lane.round(random.choice((0.02, 0.25, 3.0, 61.0, 700.0, 8 * 86_400.0)))
    return lane


def imagined(seed: int) -> list[Entry]:
    """Entries that no lane would write in this order, each as some version wrote it: of four messages of two people."""
    random, at, live = Random(seed), START, set[str]()
    journal: list[Entry] = []
    for seq in range(1, 80):
        at += random.choice((0.0, 0.0, 0.3, 0.3, 20.0, -0.5, -20.0))
        n = random.randrange(4)
        key, kind, data = _entry(random, f"message-{n}", at)
        if kind == "order" and key in live:
            continue  # it ends before it goes on
        (live.add if kind == "order" else live.discard)(key)
        if kind in ("order", "step", "end") and random.random() < 0.2:
            attempts = [[1, at, ""]] if random.random() < 0.5 else []
            data["contact"] = {"persons": [f"person-{n % 2}"], "category": "utility", "attempts": attempts}
        journal.append(Entry(key, seq, kind, at, HOME, data))
        if random.random() < 0.15:
            journal.append(Entry(random.choice(journal).key, -1, "tombstone", 0.0, "", None))
    return journal


def _entry(random: Random, message_id: str, at: float) -> tuple[str, str, dict[str, Any]]:
    number, attempt = random.choice((ONE, TWO)), random.randrange(4)
    match random.choice(("order", "order", "order", "step", "step", "step", "step", "end", "end", "word")):
        case "order":
            again = {"attempt": attempt, "spent": 1, "number": number, "resent": True, "template_only": True}
            order_ = _order(random, message_id)
            status = "queued" if "not_before" not in order_ else "scheduled"
            more = random.choice(({}, {}, {"again": again}, {"again": {"attempt": 0, "spent": 0}}))
            return message_id, "order", {"order": order_, "status": status, "trace": None} | more
        case "step":
            step = {"status": random.choice(STATUSES), "attempt": attempt}
            reason = random.choice(("not_sent_lease", "not_sent_connect", "pair"))
            told = {"number": number, "form": random.choice(("session", "template")), "called_at": at, "spent": 1,
                    "until": at + 9.0, "reason": reason, "resent": True, "template_only": True, "swapped": "other:en",
                    "refused": 1}  # fmt: skip
            return step_key(message_id), "step", step | {k: v for k, v in told.items() if random.random() < 0.6}
        case "end":
            end = {"status": random.choice(("submitted", "cancelled")), "attempt": attempt, "event_attempt": attempt,
                   "hash": "ab12"}  # fmt: skip
            facts = {"number": number, "form": "template", "template": "daily_update:en", "resent": True, "refused": 1,
                     "order": order(message_id)}  # fmt: skip
            return message_id, "end", end | {k: v for k, v in facts.items() if random.random() < 0.5}
    return _word(random, message_id, number, at)


def _order(random: Random, message_id: str) -> dict[str, Any]:
    """For one of two people, who may be known by other names, with a file or without."""
    more: dict[str, Any] = random.choice(
        ({}, {"line": "person-0"}, {"also_key": "person-1"}, {"not_before": iso(START + 60.0)})
    )
    media = {"form": "session", "session": {"type": "image", "id": "900"}} if random.random() < 0.4 else {}
    person, run = f"person-{random.randrange(2)}", None if message_id == "message-0" else "run-1"
    return order(message_id, random.sample((ONE, TWO), 2), person_key=person, run_id=run, **more, **media)


def _word(random: Random, message_id: str, number: str, at: float) -> tuple[str, str, dict[str, Any]]:
    """An entry that is about no message alone."""
    priority, seen = random.choice((1, 2, 3)), {"attempt": random.randrange(3), "wamid": "wamid.S", "number": number}
    words: list[tuple[str, str, dict[str, Any]]] = [
        (seen_key(message_id), "seen", seen),
        (seen_key(message_id), "seen", seen | {"reached": True}),
        (duplicate_key(message_id, 1), "duplicate", seen),
        (priority_key("prioritise_message", message_id), "priority", {"priority": priority, "at": at}),
        (priority_key("prioritise_run", "run-1"), "priority", {"priority": priority, "at": at}),
        (cancel_key("cancel_message", message_id), "cancel", {"at": at}),
        (pause_key("run-1"), "pause", {"paused": True, "at": at}),
        (hold_key("number", number), "hold", {"reason": "131048", "until": at + 60.0, "trips": 2}),
        (spared_key("person-0"), "spared", {"reason": "recipient_spared", "until": at + 60.0, "since": at}),
        (throttle_key(number), "throttle", {"rate": 2.0, "until": at + 1.0}),
        (auth_key(number), "auth", {"failures": 1, "token": "t"}),
        (places_key("portfolio-1", HOME), "places", {"sequence": 3, "persons": ["person-0"]}),
        (conflict_key(message_id), "conflict", {}),
        (command_key("command-1"), "resolved", {}),
        (clock_key(int(at)), "clock", {"step": random.choice((-30.0, 0.2, 30.0))}),
        (EMITTED, "emitted", {"seq": 7}),
        (watch_key(message_id), "watch", {"order": order(message_id), "attempt": 1, "number": number, "until": at}),
    ]
    return random.choice(words)


def compacted(journal: list[Entry], random: Random) -> list[Entry]:
    """As a broker may leave it: up to somewhere only the newest entry of each key, and not every tombstone."""
    cleaned = random.randrange(len(journal) + 1)
    newest = {entry.key: n for n, entry in enumerate(journal[:cleaned])}
    kept = [n for n, entry in enumerate(journal) if n >= cleaned or newest[entry.key] == n]
    return [journal[n] for n in kept if n >= cleaned or journal[n].data is not None or random.random() < 0.7]


def read_back(journal: Iterable[Entry]) -> list[Entry]:
    return [decoded(entry.key.encode(), encoded(entry)) for entry in journal]


def plain(value: Any) -> Any:
    """A value as what can be compared: all that is known of it, but for where a message stands in an index."""
    if isinstance(value, Message):
        own = {each.name: getattr(value, each.name) for each in fields(value)}
        del own["sealed"], own["chained"]
        return own | {"order": order_of(value), "trace": value.trace}
    if isinstance(value, dict):
        return [(plain(key), plain(each)) for key, each in value.items()]
    if isinstance(value, (list, tuple)) or type(value).__name__ == "deque":
        return [plain(each) for each in value]
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    names = [*getattr(type(value), "__slots__", ()), *getattr(value, "__dict__", ())]
    return {name: plain(getattr(value, name)) for name in names} if names else value


def known(state: LaneState) -> dict[str, Any]:
    """Everything of a state. Lines and runs by who is in them: what has left leaves traces there until it is met."""
    found = {each.name: plain(getattr(state, each.name)) for each in fields(state) if each.name not in INDEXES}
    people = {name for message in state.messages.values() for name in message.names}
    found["recipients"] = {name: {each.message_id for each in state.recipients.of(name)} for name in people}
    runs = {message.run_id for message in state.messages.values() if message.run_id is not None}
    found["runs"] = {run: {each.message_id for each in state.runs.of(run, state.messages)} for run in runs}
    return found


INDEXES = ("recipients", "runs")


def both(journal: list[Entry], most_aside: int) -> tuple[LaneState, LaneState]:
    """The state by the entries one by one, and as a lane reads it."""
    limits = {number: Limits(per_second=4, per_minute=30) for number in (ONE, TWO, THREE)}
    one_by_one, quick = LaneState(limits=limits), LaneState(limits=limits)
    for entry in journal:
        evolve(one_by_one, entry)
    middle = journal[len(journal) // 2].seq if journal else 0
    records = [(entry.key.encode(), encoded(entry)) for entry in journal]
    later = replay(quick, (glanced(*record) for record in records), after=middle, most_aside=most_aside)
    assert [*later] == [entry for entry in journal if entry.seq > middle and entry.data is not None]
    return one_by_one, quick


def assert_same(journal: list[Entry], most_aside: int, lane: HandDriven) -> None:
    """In all that is known, and in all that a new owner decides on it."""
    one_by_one, quick = both(journal, most_aside)
    assert known(quick) == known(one_by_one)
    written = []
    for state in (one_by_one, quick):
        scribe = Scribe(state, lane.now)
        recover(scribe, lane.around)
        written.append(scribe.entries)
    assert written[0] == written[1]
    assert known(quick) == known(one_by_one)


@given(st.integers(0, 2**32), st.sampled_from([0, 1, 3, 1000]))
@settings(deadline=None, max_examples=40)
def test_a_journal_read_back_says_what_its_entries_say(seed: int, most_aside: int) -> None:
    lane, random = lived(seed), Random(seed)
    journal = read_back(lane.journal)
    assert_same(journal, most_aside, lane)
    assert_same(compacted(journal, random), most_aside, lane)


@given(st.integers(0, 2**32), st.sampled_from([0, 1, 2, 1000]))
@settings(deadline=None, max_examples=150)
def test_whatever_was_written(seed: int, most_aside: int) -> None:
    lane, random = HandDriven(now=START + 1000.0), Random(seed)
    journal = read_back(imagined(seed))
    assert_same(journal, most_aside, lane)
    assert_same(compacted(journal, random), most_aside, lane)


class _Held(dict[str, Any]):
    """An entry's data, of which can be known whether anybody holds it still."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def test_of_a_message_that_is_held_again_and_again_little_lies_aside() -> None:
    state, held, most = LaneState(limits={}), weakref.WeakSet[Any](), 0

    def journal() -> Iterator[Entry]:
        nonlocal most
        yield Entry("message-1", 1, "order", START, HOME, {"order": order("message-1"), "status": "queued"})
        for seq in range(2, 10 * MOST_STEPS):
            data = _Held(status="held" if seq % 2 else "queued", attempt=0, reason="pair", until=START + seq)
            held.add(data)
            most = max(most, len(held))
            yield Entry(step_key("message-1"), seq, "step", START, HOME, data)
            del data

    replay(state, journal(), after=10 * MOST_STEPS)
    assert most <= MOST_STEPS + 2
    message = state.messages["message-1"]
    assert (message.status, message.until) == ("held", START + 10 * MOST_STEPS - 1)
