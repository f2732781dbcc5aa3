"""The small parts: journal bytes, timers, memory of ended messages, failpoints, intake, events of entries."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.contracts.envelope import decode
from harkara.contracts.journal import JournalRecord
from harkara.dispatcher.evolve import UnknownKind, evolve
from harkara.dispatcher.failpoints import POINTS, Failpoints
from harkara.dispatcher.horizon import ENDS, HORIZON_SECONDS, MOST_TEMPLATES, Horizon, fingerprint
from harkara.dispatcher.journal import Entry, decoded, encoded
from harkara.dispatcher.plan import last_gate
from harkara.dispatcher.state import LaneState
from harkara.dispatcher.timers import Timers
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, TIMEOUT, HandDriven, order, refused


def test_an_entry_is_a_journal_record_and_reads_back_the_same() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(refused(131016, 500))
    for entry in lane.journal:
        value = encoded(entry)
        record = decode((JournalRecord,), value, [], fallback_id="").event
        assert isinstance(record, JournalRecord) and record.seq == entry.seq
        again = decoded(entry.key.encode(), value)
        assert (again.key, again.seq, again.kind, again.home, again.data) == (
            entry.key, entry.seq, entry.kind, entry.home, entry.data,
        )  # fmt: skip
        assert again.at == pytest.approx(entry.at, abs=1e-5)


def test_an_entry_of_a_newer_version_ends_the_recovery() -> None:
    with pytest.raises(UnknownKind):
        evolve(LaneState(), Entry("message-1", 1, "tomorrow", START, "pool-a", {}))


def test_a_compacted_journal_says_the_same() -> None:
    lane = HandDriven()
    lane.take(*(order(f"message-{n}") for n in range(4)))
    lane.answer(ACCEPTED, "message-0")
    lane.answer(TIMEOUT, "message-1")
    lane.answer(refused(131016, 500), "message-2")
    whole = lane.state
    newest = {entry.key: index for index, entry in enumerate(lane.journal)}
    lane.journal = [entry for index, entry in enumerate(lane.journal) if newest[entry.key] == index]
    lane.crash()
    assert lane.state.messages.keys() == whole.messages.keys()
    assert {m.message_id: m.attempt for m in lane.state.messages.values()} == {
        m.message_id: m.attempt for m in whole.messages.values()
    }
    assert lane.state.horizon.find("message-0") is not None


def test_events_of_an_entry_are_the_same_whoever_writes_them() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(ACCEPTED)
    first = [(each.id, each.event) for each in lane.emissions()]
    lane.journal = [decoded(entry.key.encode(), encoded(entry)) for entry in lane.journal]
    assert [(each.id, each.event) for each in lane.emissions()] == first
    assert len({each.id for each in lane.emissions()}) == len(first)


@dataclass
class Dated:
    """Something that can be due."""

    name: int
    due: float | None = None


@given(st.lists(st.tuples(st.integers(0, 20), st.one_of(st.none(), st.floats(0, 100))), max_size=60))
def test_timers_give_each_message_once_at_its_newest_time(rows: list[tuple[int, float | None]]) -> None:
    timers, items = Timers[Dated](), [Dated(n) for n in range(21)]
    for number, at in rows:
        timers.move(items[number], at)
    due = {item.name: item.due for item in items if item.due is not None}
    seen: dict[int, float] = {}
    while (at_next := timers.next_due()) is not None:
        for item in timers.take_due(at_next, 5):
            assert item.name not in seen and item.due is None
            seen[item.name] = at_next
    assert seen.keys() == due.keys()
    assert all(0 <= seen[name] - due[name] <= 0.05 + 1e-9 for name in due)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.booleans()), max_size=200))
def test_timers_forget_what_has_ended_and_what_is_moved_while_it_is_due(rows: list[tuple[int, int, bool]]) -> None:
    timers, items, now, given_ = Timers[Dated](), [Dated(n) for n in range(10)], 0.0, list[tuple[float, float]]()
    wanted: dict[int, float] = {}
    for number, later, ends in rows:
        now += 0.05 * later
        for item in timers.take_due(now, 1 + later):
            given_.append((wanted.pop(item.name), now))
        due = None if ends else now + later
        timers.move(items[number], due)
        wanted.pop(number, None)
        if due is not None:
            wanted[number] = due
        held = sum(len(bucket.items) for bucket in timers._buckets.values())
        assert held <= 2 * sum(bucket.live for bucket in timers._buckets.values()) <= 2 * len(items)
    assert all(at >= due for due, at in given_)
    assert {item.name for item in timers.take_due(1e6, 1000)} == wanted.keys()


@pytest.mark.parametrize("intent_hash", ["32b0b90467f44da709770d4a2d2d9926", "hash 7", "ab12", "ab " * 9])
def test_an_ended_message_is_known_by_eight_bytes_of_its_intents_hash(intent_hash: str) -> None:
    horizon = Horizon()
    horizon.add("message-1", START, "submitted", 1, intent_hash)
    ended = horizon.find("message-1")
    assert ended is not None and ended.fingerprint == fingerprint(intent_hash) and len(ended.fingerprint) == 8
    assert fingerprint(intent_hash[::-1]) != ended.fingerprint


def test_an_ended_message_keeps_the_template_by_which_it_went() -> None:
    horizon, most = Horizon(), MOST_TEMPLATES
    for n in range(most + 5):
        horizon.add(f"message-{n}", START, "submitted", 1, f"{n:016x}", f"template_{n}:en")
    horizon.add("text", START, "submitted", 1, "hash")
    horizon.add("again", START, "submitted", 1, "hash", "template_7:en")
    found = {
        each: horizon.find(each) for each in ("message-7", f"message-{most - 1}", f"message-{most}", "text", "again")
    }
    assert [each and each.template for each in found.values()] == [
        "template_7:en", f"template_{most - 1}:en", "", "", "template_7:en",
    ]  # fmt: skip


def test_the_horizon_keeps_seven_days_and_then_forgets_in_parts() -> None:
    horizon = Horizon()
    for n in range(1000):
        horizon.add(f"message-{n}", START, ENDS[n % len(ENDS)], n, f"hash {n}")
    ended = horizon.find("message-7")
    assert ended is not None
    assert (ended.status, ended.attempt, ended.fingerprint) == (ENDS[7 % len(ENDS)], 7, fingerprint("hash 7"))
    assert list(horizon.forget_old(START + HORIZON_SECONDS, 500)) == []
    later = horizon.next_forget()
    assert later is not None and START + HORIZON_SECONDS <= later <= START + HORIZON_SECONDS + 6 * 3600
    assert len(list(horizon.forget_old(later, 600))) == 600
    assert len(list(horizon.forget_old(later, 600))) == 400
    assert horizon.next_forget() is None


def test_failpoints_are_inert_unset_and_refuse_what_they_do_not_know() -> None:
    for point in POINTS:
        Failpoints.parse("").reach(point)
    reached = []
    points = Failpoints({"before_call": (3, lambda: reached.append(1))})
    for _ in range(5):
        points.reach("before_call")
    assert reached == [1]
    for wrong in ("nowhere:1:kill", "before_call:0:kill", "before_call:1:dance", "before_call"):
        with pytest.raises(ValueError, match="HARKARA_FAILPOINTS"):
            Failpoints.parse(wrong)


@pytest.mark.req("DSP-20")
def test_the_last_gate_closes_for_each_reason() -> None:
    reasons = {}
    for name in ("open", "halted", "cancelled", "expired", "window"):
        lane = HandDriven()
        lane.take(order(form="session", valid_until=START + 100, life=200))
        (message,) = lane.state.messages.values()
        now = START + {"expired": 201, "window": 101}.get(name, 1)
        if name == "halted":
            lane.verdict(ONE, "halted")
        if name == "cancelled":
            lane.command("cancel_message", "message-1")
        reasons[name] = last_gate(lane.state, lane.around, message, now)
    assert reasons == {
        "open": None,
        "halted": "number_halted",
        "cancelled": "cancelled",
        "expired": "expired",
        "window": "window_closed",
    }
