"""One number's queue inside the lane: order per recipient, priorities, random order, media, the pair limit."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.contracts.audit import AuditRecord
from harkara.dispatcher.recipients import number_of
from harkara.dispatcher.state import Message
from harkara.dispatcher.wakeup import next_wake
from harkara.graph_api.outcome import Accepted, InDoubt, NotSent, Outcome
from harkara.policy.pacing import Limits
from tests.unit.dispatcher.lanes import ACCEPTED, LEASE, ONE, START, TIMEOUT, TWO, HandDriven, iso, order, refused

ASHA: dict[str, Any] = {"person_key": "asha"}


def called(lane: HandDriven) -> list[str]:
    return [message_id for message_id, *_ in lane.attempts]


@pytest.mark.req("ING-19")
class TestOneRecipient:
    """Messages to one person by one number go one after another."""

    def test_the_second_waits_for_the_answer_to_the_first_and_others_do_not(self) -> None:
        lane = HandDriven()
        lane.take(order("message-1", **ASHA), order("message-2", **ASHA), order("message-3"))
        assert called(lane) == ["message-1", "message-3"]
        lane.answer(ACCEPTED)
        assert called(lane) == ["message-1", "message-3", "message-2"]

    def test_it_waits_while_the_first_is_retried_or_goes_back_to_its_place(self) -> None:
        lane = HandDriven()
        lane.take(order("message-1", **ASHA), order("message-2", **ASHA))
        lane.answer(refused(131016, 500))
        lane.answer(LEASE, "message-1") if lane.under_way else lane.round(1.3)
        assert called(lane) == ["message-1", "message-1"]
        lane.answer(LEASE)
        assert called(lane) == ["message-1", "message-1", "message-1"]
        lane.answer(ACCEPTED)
        assert called(lane)[3:] == ["message-2"]

    def test_it_does_not_wait_for_one_in_doubt_held_or_scheduled(self) -> None:
        lane = HandDriven()
        other = {"type": "template", "name": "another", "language": "en", "body": []}
        lane.take(order("message-1", **ASHA), order("message-2", template=other, **ASHA), order("message-3", **ASHA))
        lane.answer(TIMEOUT)
        assert called(lane) == ["message-1", "message-2"]
        lane.answer(refused(132015), "message-2")  # its template is paused
        assert lane.status("message-2") == "held"
        assert called(lane) == ["message-1", "message-2", "message-3"]

    def test_a_higher_priority_overtakes_and_a_lower_one_does_not(self) -> None:
        lane = HandDriven()
        lane.take(
            order("message-1", priority=2, **ASHA),
            order("message-2", priority=1, **ASHA),
            order("message-3", priority=3, **ASHA),
        )
        assert called(lane) == ["message-3", "message-1"]
        lane.answer(ACCEPTED)
        assert called(lane) == ["message-3", "message-1", "message-2"]

    def test_one_that_comes_late_with_an_older_place_goes_first(self) -> None:
        lane = HandDriven(limits=Limits(per_minute=1))
        lane.take(order("message-0"))
        lane.take(order("message-1", not_before=iso(START + 30), **ASHA), order("message-2", **ASHA))
        lane.round(31)
        lane.round(31)
        lane.answer(ACCEPTED)
        lane.round(61)
        assert called(lane) == ["message-0", "message-1", "message-2"]

    def test_a_cancelled_first_lets_the_second_go(self) -> None:
        lane = HandDriven()
        lane.take(order("message-1", **ASHA), order("message-2", **ASHA))
        lane.answer(refused(131016, 500))
        lane.command("cancel_message", "message-1")
        assert called(lane) == ["message-1", "message-2"]

    def test_each_number_has_its_own_order(self) -> None:
        lane = HandDriven()
        lane.take(order("message-1", **ASHA), order("message-2", (TWO,), **ASHA))
        assert called(lane) == ["message-1", "message-2"]

    def test_a_thousand_to_one_person_leave_nothing_behind(self) -> None:
        lane = HandDriven(limits=Limits())
        lane.take(*(order(f"message-{n}", **ASHA) for n in range(1000)), start=False)
        lane.round()
        for n in range(1000):
            assert called(lane)[n] == f"message-{n}"
            lane.now += 6.0
            lane.answer(ACCEPTED, f"message-{n}")
        one = lane.state.number(ONE)
        assert lane.state.recipients.of("asha") == []
        assert (one.behind, one.idle, sum(one.standing.values())) == ({}, True, 0)


@pytest.mark.req("ING-14", "B14")
def test_priorities_then_fair_turns_then_intake() -> None:
    lane = HandDriven(capacity=1)
    lane.take(order("message-0"))
    bulk = [order(f"bulk-{n:03}", run_id="run-a") for n in range(300)]
    lane.take(*bulk, order("single-1"), order("high-001", priority=2), order("urgent-1", priority=3))
    for _ in range(5):
        lane.answer(ACCEPTED, called(lane)[-1])
    assert called(lane)[:5] == ["message-0", "urgent-1", "high-001", "bulk-000", "single-1"]


def test_weights_of_producers_share_the_number() -> None:
    lane = HandDriven(capacity=1)
    lane.around.policy = type(lane.policy)(lane.policy.in_doubt_timeout_seconds, weights={"alerts": 3.0})
    lane.take(order("message-0"))
    lane.take(*(order(f"bulk-{n:03}", producer="bulk") for n in range(40)))
    lane.take(*(order(f"alert-{n:03}", producer="alerts") for n in range(40)))
    for _ in range(20):
        lane.answer(ACCEPTED, called(lane)[-1])
    assert sum(each.startswith("alert") for each in called(lane)[1:21]) == 15


class TestPrioritise:
    """A message or a run gets another priority."""

    def test_a_message_takes_the_next_slot_after_a_crash_too_and_it_is_audited(self) -> None:
        lane = HandDriven(limits=Limits(per_minute=1))
        lane.take(order("message-0"), *(order(f"message-{n}") for n in range(1, 6)))
        lane.command("prioritise_message", "message-4", priority=3)
        lane.answer(ACCEPTED, "message-0")
        lane.crash()
        lane.round(61)
        assert called(lane) == ["message-0", "message-4"]
        (told,) = [each.event for each in lane.emissions() if isinstance(each.event, AuditRecord)]
        assert (told.action, told.subject, told.details["priority"]) == ("prioritise_message", "message-4", "3")

    def test_a_run_has_it_for_messages_that_arrive_later_and_the_newest_word_counts(self) -> None:
        lane = HandDriven(limits=Limits(per_minute=1))
        lane.take(order("message-0"), order("message-1"), order("message-2", run_id="run-a"))
        lane.command("prioritise_run", "run-a", priority=2, command_id="c1")
        lane.command("prioritise_run", "run-a", priority=3, at=iso(lane.now - 5))  # older: changes nothing
        lane.take(order("message-3", run_id="run-a"))
        assert {each.priority for each in lane.state.named("prioritise_run", "run-a")} == {2}
        lane.now += 1
        lane.command("prioritise_message", "message-2", priority=1)
        lane.crash()
        lane.answer(ACCEPTED, "message-0")
        for _ in range(3):
            lane.round(61)
            lane.answer(ACCEPTED, called(lane)[-1])
        assert called(lane)[1:] == ["message-3", "message-1", "message-2"]
        lane.round(7 * 86_400 + 1)
        assert lane.state.priorities == {}

    def test_one_that_is_behind_or_called_or_unknown_is_no_trouble(self) -> None:
        lane = HandDriven()
        lane.take(order("message-1", **ASHA), order("message-2", **ASHA))
        lane.command("prioritise_message", "message-2", priority=2)
        assert called(lane) == ["message-1", "message-2"]
        lane.command("prioritise_message", "message-1", priority=3)
        lane.command("prioritise_message", "never-seen-1", priority=3)
        lane.answer(LEASE)
        assert called(lane) == ["message-1", "message-2", "message-1"]
        check_indexes(lane)


@pytest.mark.req("DSP-5")
class TestRandomOrder:
    """The order inside a priority is mixed where the profile asks for it."""

    LIMITS = Limits(randomised_order=True)

    def sent(self, lane: HandDriven, count: int) -> list[str]:
        while len(lane.attempts) < count:
            lane.answer(ACCEPTED, called(lane)[-1])
        return called(lane)

    def test_it_is_mixed_and_the_same_for_the_next_owner(self) -> None:
        lane = HandDriven(limits=self.LIMITS, capacity=1)
        lane.take(*(order(f"message-{n:03}", run_id="run-a") for n in range(200)), start=False)
        again = HandDriven(limits=self.LIMITS, capacity=1, journal=list(lane.journal))
        lane.round()
        again.round()
        found = self.sent(lane, 200)
        assert sorted(found) != found
        assert found == self.sent(again, 200)
        moved = [abs(int(each[-3:]) - place) for place, each in enumerate(found)]
        assert sum(moved) / 200 > 40  # of a random order 200 / 3

    def test_it_keeps_priorities_and_each_recipients_order_and_starves_nobody(self) -> None:
        lane = HandDriven(limits=self.LIMITS, capacity=1)
        rows = [order(f"m{n % 3 + 1}-{n:05}", priority=n % 3 + 1, person_key=f"p{n % 7}") for n in range(90)]
        lane.take(*rows, start=False)
        lane.round()
        found = self.sent(lane, 90)
        assert [each[1] for each in found] == ["3"] * 30 + ["2"] * 30 + ["1"] * 30
        for person in range(7):
            for priority in "123":
                own = [int(e[3:]) for e in found if int(e[3:]) % 7 == person and e[1] == priority]
                assert own == sorted(own)

    def test_what_comes_ten_minutes_later_overtakes_nobody(self) -> None:
        lane = HandDriven(limits=self.LIMITS, capacity=1)
        lane.take(*(order(f"early-{n:03}") for n in range(50)), start=False)
        lane.now += 601
        lane.take(*(order(f"late-{n:04}", at=lane.now) for n in range(50)), start=False)
        lane.round()
        assert [each[:4] for each in self.sent(lane, 100)] == ["earl"] * 50 + ["late"] * 50


@pytest.mark.req("DSP-21")
def test_texts_overtake_media_that_wait_for_their_window_but_not_to_the_same_person() -> None:
    lane = HandDriven(limits=Limits(media_per_hour=2))
    image = {"type": "image", "link": "https://example.test/a.png"}
    lane.take(*(order(f"image-{n:03}", form="session", session=image, person_key=f"p{n}") for n in range(4)))
    lane.take(order("message-1", person_key="p3"), order("message-2", person_key="p9"))
    assert called(lane) == ["image-000", "image-001", "message-2"]
    for message_id in called(lane):
        lane.answer(ACCEPTED, message_id)
    lane.round(3700)
    assert called(lane)[3:] == ["image-002", "image-003"]
    lane.answer(ACCEPTED, "image-003")
    assert called(lane)[5:] == ["message-1"]


def test_one_over_the_pair_limit_sleeps_without_a_journal_entry_and_others_overtake() -> None:
    lane = HandDriven()
    lane.take(*(order(f"asha-{n:04}", **ASHA) for n in range(50)))
    for n in range(45):
        lane.answer(ACCEPTED, f"asha-{n:04}")
    assert len(lane.attempts) == 45
    written = len(lane.journal)
    lane.round(1)
    assert len(lane.journal) == written
    lane.take(order("message-1"))
    assert called(lane)[45:] == ["message-1"]
    due = lane.state.number(ONE).next_at()
    assert due is not None and due == pytest.approx(START + 6.0)
    lane.round(5.0)
    assert called(lane)[46:] == ["asha-0045"]
    assert "held" not in lane.steps("asha-0045")


@pytest.mark.req("DSP-10", "DSP-16", "DSP-17")
def test_a_staged_run_leaves_in_its_window_each_message_at_its_time() -> None:
    """1,000 staged at 05:59:00, spread at random over 05:59:30 to 06:04:30; every 50th is refused once for a moment."""
    random, lane = Random(6), HandDriven(limits=Limits(per_second=80), capacity=80)
    begins = START + 30
    slots = {f"message-{n:04}": begins + random.random() * 300 for n in range(1000)}
    lane.take(*(order(name, run_id="run-a", not_before=iso(at)) for name, at in slots.items()))
    assert lane.attempts == []
    lane.crash()  # staged is journaled
    called_at: dict[str, float] = {}
    most = 0
    while len(called_at) < 1000:
        due = next_wake(lane.state, lane.around, lane.now, None)
        assert due is not None
        lane.now = max(due, lane.now + 0.015)  # a round of the lane
        before = len(lane.attempts)
        lane.round()
        most = max(most, len(lane.under_way))
        for message_id, attempt, *_ in lane.attempts[before:]:
            called_at.setdefault(message_id, lane.now)
            late = lane.now - slots[message_id]
            assert 0 <= late < (0.5 if attempt == 1 else 2.0)
            lane.answer(refused(131016, 500) if attempt == 1 and message_id.endswith("50") else ACCEPTED, message_id)
    lane.round(5)
    assert begins <= min(called_at.values()) and max(called_at.values()) < begins + 301
    assert most <= 80
    assert sum(attempt == 2 for _, attempt, *_ in lane.attempts) >= 9


def test_cancelling_a_run_or_a_recipient_looks_at_theirs_alone() -> None:
    lane = HandDriven(limits=Limits(per_day=1))
    lane.take(*(order(f"message-{n}", run_id=f"run-{n % 3}", person_key=f"p{n % 5}") for n in range(60)))
    assert {each.run_id for each in lane.state.named("cancel_run", "run-1")} == {"run-1"}
    assert {each.person_key for each in lane.state.named("cancel_recipient", "p2")} == {"p2"}
    lane.command("cancel_run", "run-1")
    lane.command("cancel_recipient", "p2")
    assert lane.state.named("cancel_run", "run-1") == lane.state.named("cancel_recipient", "p2") == []
    left = [int(each.split("-")[1]) for each in lane.state.messages]
    assert not any(n % 3 == 1 or n % 5 == 2 for n in left)
    assert [run in lane.state.runs for run in ("run-0", "run-1", "run-2")] == [True, False, True]


def test_what_is_shown_first_is_what_goes_first() -> None:
    lane = HandDriven(capacity=1)
    lane.take(order("message-0"))
    lane.take(*(order(f"run-{n % 4}-{n:03}", run_id=f"run-{n % 4}", priority=1 + (n % 7 == 0)) for n in range(50)))
    shown = [each.message_id for each in lane.state.number(ONE).first(20)]
    for _ in range(20):
        lane.answer(ACCEPTED, called(lane)[-1])
    assert called(lane)[1:21] == shown


OUTCOMES: list[Outcome] = [
    Accepted("wamid.A"), InDoubt("timeout"), NotSent("lease"), NotSent("connect"), refused(131016, 500),
    refused(131056), refused(130429), refused(132015), refused(131026), refused(131048),
]  # fmt: skip


def in_order(message: Message, started: Message) -> bool:
    """Whether `message` should have gone before `started`."""
    earlier = message.seq < started.seq and message.priority >= started.priority
    return earlier and message.person_key == started.person_key and number_of(message) == started.number


@pytest.mark.req("ING-19")
@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_message_overtakes_an_earlier_one_to_its_recipient(seed: int, mixed: bool) -> None:
    """Whatever the outcomes, crashes, halts, media and random order; and the indexes say what the messages say."""
    random = Random(seed)
    lane = HandDriven(limits=Limits(per_second=5, media_per_hour=6, randomised_order=mixed), capacity=4)
    image = {"type": "image", "link": "https://example.test/a.png"}
    version = 0
    for step in range(120):
        act = random.random()
        before = len(lane.attempts)
        stood = {each.message_id: number_of(each) for each in lane.state.messages.values()}
        if act < 0.45:
            content = {"form": "session", "session": image} if random.random() < 0.2 else {}
            numbers = random.choice([(ONE,), (ONE, TWO), (TWO, ONE)])
            made = order(
                f"message-{step}", numbers, priority=random.choice([1, 1, 2, 3]), person_key=random.choice("abc"),
                run_id=random.choice(["run-a", "run-b"]), at=lane.now, life=500.0, **content,
            )  # fmt: skip
            lane.take(made)
        elif act < 0.75 and lane.under_way:
            lane.answer(random.choice(OUTCOMES), *random.choice(lane.under_way))
        elif act < 0.8:
            version += 1
            lane.verdict(random.choice([ONE, TWO]), random.choice(["open", "open", "halted"]), version)
        elif act < 0.83:
            lane.crash()
            lane.round()
        elif act < 0.85:
            lane.command("cancel_run", random.choice(["run-a", "run-b"]))
        elif act < 0.89:
            lane.now += 0.01
            lane.command("prioritise_run", random.choice(["run-a", "run-b"]), priority=random.choice([1, 2, 3]))
        else:
            lane.round(random.choice([0.2, 1.0, 7.0, 61.0]))
        for message_id, attempt, _, _ in lane.attempts[before:]:
            started = lane.state.messages.get(message_id)
            if started is not None and started.status == "attempting" and started.attempt == attempt:
                overtaken = [each for each in lane.state.messages.values() if in_order(each, started)]
                # one that came over from another number's queue in this very instant is not overtaken
                assert all(stood[each.message_id] not in (None, started.number) for each in overtaken)
        check_indexes(lane)


def check_indexes(lane: HandDriven) -> None:
    """Everything placed stands in exactly one queue, listed or behind somebody; nothing else does."""
    placed = {each.message_id: each.placed for each in lane.state.messages.values() if each.placed}
    found: dict[str, str] = {}
    for number, own in lane.state.numbers.items():
        listed = [each for queue in own.queues.values() for each in queue.messages()]
        for each in (*listed, *own.behind.values()):
            assert each.message_id not in found
            found[each.message_id] = number
        assert sum(own.standing.values()) == len(listed) + len(own.behind)
        for each in own.behind.values():
            assert not lane.state.is_its_turn(each) or any(each is other for _, _, other in own.asleep)
    assert found == placed
    by_run: dict[str, set[str]] = {}
    for each in lane.state.messages.values():
        if each.run_id is not None:
            by_run.setdefault(each.run_id, set()).add(each.message_id)
    for run in {"run-a", "run-b"} | by_run.keys():
        assert {each.message_id for each in lane.state.named("cancel_run", run)} == by_run.get(run, set())
        assert (run in lane.state.runs) is (run in by_run)
