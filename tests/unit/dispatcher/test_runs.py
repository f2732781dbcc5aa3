"""A run that is paused, resumed and cancelled at any moment, and one that is only rehearsed (B15, ING-21)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from harkara.contracts.audit import AuditRecord
from harkara.contracts.portfolios import PortfolioLease
from harkara.dispatcher.plan import last_gate
from harkara.dispatcher.wakeup import next_wake
from harkara.graph_api.outcome import InDoubt, NotSent
from harkara.policy.contacts import rules_of
from harkara.policy.pacing import Limits
from tests.unit.dispatcher.lanes import ACCEPTED, HOME, ONE, START, TWO, HandDriven, iso, order, policy
from tests.unit.policy.cases import policy as governance

RUN, OTHER = "r-morning", "r-evening"


def of_run(count: int, run_id: str = RUN, **more: Any) -> list[dict[str, Any]]:
    return [order(f"{run_id}-{n:03}", run_id=run_id, **more) for n in range(count)]


def called(lane: HandDriven) -> list[str]:
    return [message_id for message_id, *_ in lane.attempts]


@pytest.mark.req("B15")
def test_a_paused_run_waits_and_goes_on_in_its_order() -> None:
    lane = HandDriven(capacity=2)
    lane.take(*of_run(6))
    assert called(lane) == [f"{RUN}-000", f"{RUN}-001"]
    lane.command("pause_run", RUN)
    for message_id in called(lane):
        lane.answer(ACCEPTED, message_id)
    assert len(lane.attempts) == 2
    assert [lane.status(f"{RUN}-{n:03}") for n in range(6)] == ["submitted"] * 2 + ["held"] * 4
    assert lane.shown()[f"{RUN}-005"]["reason"]["code"] == "run_paused"
    lane.round(1)
    lane.command("resume_run", RUN)
    while lane.under_way:
        lane.answer(ACCEPTED, lane.under_way[0][0])
    assert called(lane) == [f"{RUN}-{n:03}" for n in range(6)]
    assert set(lane.status(each) for each in called(lane)) == {"submitted"}


@pytest.mark.req("B15")
def test_what_arrives_later_is_held_too_and_other_runs_go_on() -> None:
    lane = HandDriven()
    lane.command("pause_run", RUN)
    lane.take(*of_run(2), *of_run(2, OTHER), order("single-01"))
    assert sorted(called(lane)) == [f"{OTHER}-000", f"{OTHER}-001", "single-01"]
    lane.crash()
    lane.round(5)
    assert len(lane.attempts) == 3
    assert lane.status(f"{RUN}-001") == "held"


@pytest.mark.req("B15")
def test_the_last_gate_sees_a_pause() -> None:
    lane = HandDriven()
    lane.take(*of_run(1))
    message = lane.state.messages[f"{RUN}-000"]
    lane.command("pause_run", RUN)
    assert last_gate(lane.state, lane.around, message, lane.now) == "run_paused"
    lane.answer(NotSent("run_paused"), message.message_id)
    assert lane.status(message.message_id) == "held"
    lane.round(1)
    lane.command("resume_run", RUN)
    assert lane.attempts[-1][:2] == (message.message_id, 2)


@pytest.mark.req("B15")
def test_a_cancel_ends_a_paused_run_for_good() -> None:
    lane = HandDriven(capacity=1)
    lane.take(*of_run(3))
    lane.command("pause_run", RUN)
    lane.command("cancel_run", RUN)
    lane.answer(ACCEPTED, f"{RUN}-000")
    lane.round(1)
    lane.command("resume_run", RUN)
    lane.take(*of_run(5)[3:])
    assert len(lane.attempts) == 1
    assert Counter(lane.status(f"{RUN}-{n:03}") for n in range(5)) == {"submitted": 1, "cancelled": 4}


def test_the_newest_word_counts_in_whatever_order_words_come() -> None:
    lane = HandDriven()
    lane.command("resume_run", RUN, at=iso(START + 2))
    lane.command("pause_run", RUN, at=iso(START + 1))
    assert not lane.state.pauses[RUN].paused
    lane.command("pause_run", RUN, at=iso(START + 2))
    assert lane.state.pauses[RUN].paused, "of two of the same instant the pause"
    lane.command("resume_run", RUN, at=iso(START + 2))
    assert lane.state.pauses[RUN].paused
    records = [e.event for e in lane.emissions() if isinstance(e.event, AuditRecord)]
    assert [(each.action, each.subject, each.actor) for each in records] == [
        ("resume_run", RUN, "asha"), ("pause_run", RUN, "asha"),
    ]  # fmt: skip


def test_a_pause_is_forgotten_when_nothing_of_its_run_can_live() -> None:
    lane = HandDriven()
    lane.command("pause_run", RUN)
    lane.round(8 * 86_400)
    assert RUN not in lane.state.pauses


@pytest.mark.req("B15")
def test_a_pause_lasts_as_long_as_anything_of_its_run_waits() -> None:
    lane, day = HandDriven(), 86_400.0
    lane.command("pause_run", RUN)
    lane.now += 6 * day
    lane.take(*of_run(1, at=lane.now, life=5 * day))
    for _ in range(2):
        lane.round(1.5 * day)
        lane.verdict(ONE, "open")
        lane.crash()
        lane.round()
        assert lane.status(f"{RUN}-000") == "held" and not lane.attempts
    lane.command("resume_run", RUN)
    assert called(lane) == [f"{RUN}-000"]
    lane.answer(ACCEPTED, f"{RUN}-000")
    lane.command("pause_run", RUN)
    lane.round(8 * day)
    assert RUN not in lane.state.pauses


def test_a_held_one_still_expires() -> None:
    lane = HandDriven()
    lane.command("pause_run", RUN)
    lane.take(*of_run(1, life=60.0))
    lane.round(61)
    assert lane.status(f"{RUN}-000") == "expired"


class Morning:
    """A run of twenty and another of five on one lane; words, deaths, outcomes and time come as the seed has them."""

    def __init__(self, seed: int) -> None:
        self.lane, self.random = HandDriven(capacity=3), Random(seed)
        self.orders = [*of_run(20), *of_run(5, OTHER)]
        self.taken: set[str] = set()
        self.paused = False
        self.told_at = 0  # calls before the newest word

    def moment(self) -> None:
        """One thing happens; a paused run is not called by it."""
        if self.orders and self.random.random() < 0.6:
            self.lane.take(self.orders.pop(0))
        what = self.random.choice((self.tell, self.tell, self.lane.crash, self.answer, self.answer, self.wait))
        what()
        if self.paused:
            late = [each for each in called(self.lane)[self.told_at :] if each.startswith(RUN)]
            assert not late, "a paused run was called"

    def tell(self, *, pause: bool | None = None) -> None:
        self.lane.round(0.001)
        self.told_at = len(self.lane.attempts)
        self.paused = self.random.random() < 0.5 if pause is None else pause
        self.lane.command("pause_run" if self.paused else "resume_run", RUN)

    def wait(self) -> None:
        self.lane.round(self.random.uniform(0, 30))

    def answer(self) -> None:
        if self.lane.under_way:
            message_id, attempt = self.random.choice(self.lane.under_way)
            outcome = self.random.choice((ACCEPTED, ACCEPTED, InDoubt("timeout"), NotSent("lease")))
            self.taken |= {message_id} if outcome is ACCEPTED else set()
            self.lane.answer(outcome, message_id, attempt)

    def end(self) -> None:
        """Everything arrives, the run goes on, and every call is answered."""
        for each in self.orders:
            self.lane.take(each)
        self.tell(pause=False)
        for _ in range(60):
            while self.lane.under_way:
                message_id, attempt = self.lane.under_way[0]
                self.taken.add(message_id)
                self.lane.answer(ACCEPTED, message_id, attempt)
            self.lane.round(1)


@pytest.mark.req("B15")
@pytest.mark.parametrize("seed", range(20))
def test_each_recipient_exactly_once_whenever_it_is_paused_resumed_or_its_owner_dies(seed: int) -> None:
    """Twenty seeds of thirty moments each: what is called is called once, and what was not ends by name."""
    morning = Morning(seed)
    for _ in range(30):
        morning.moment()
    morning.end()
    shown, lane = morning.lane.shown(), morning.lane
    assert len(shown) == 25
    for message_id, state in shown.items():
        attempts = [attempt for each, attempt, *_ in lane.attempts if each == message_id]
        assert attempts == sorted(set(attempts)), "an attempt was made twice"
        wanted = ("submitted",) if message_id in morning.taken else ("in_doubt", "unknown")
        assert state["status"] in wanted, message_id


# --- a dry run ---------------------------------------------------------------------------------------------------


@pytest.mark.req("ING-21")
def test_a_dry_run_calls_nobody_and_says_what_it_would_have_done() -> None:
    lane = HandDriven(limits=Limits(per_second=2))
    lane.take(order("real-0001"), order("real-0002"), order("real-0003"), *of_run(4, dry_run=True))
    assert all(not message_id.startswith(RUN) for message_id in called(lane))
    state = lane.shown()[f"{RUN}-000"]
    assert (state["status"], state["phone_number_id"]) == ("rehearsed", ONE)
    assert state["reason"]["code"] == "dry_run"
    details = [lane.shown()[f"{RUN}-{n:03}"]["reason"]["details"] for n in range(4)]
    assert {(each["number"], each["form"], each["template"]) for each in details} == {
        (ONE, "template", "daily_update:en")
    }
    times = [each["at"] for each in details]
    assert times == sorted(set(times)), "one after the other, at the number's pace"
    assert len(details[0]["request"]) == 64
    pace = lane.state.number(ONE).pace
    assert pace.in_last_day(lane.now) == len(lane.attempts), "a rehearsal takes no part of a limit"
    assert not [each for each in lane.state.messages if each.startswith(RUN)]


@pytest.mark.req("ING-21")
def test_a_dry_run_waits_for_nothing() -> None:
    lane = HandDriven()
    lane.verdict(ONE, "halted")
    later = order("dry-later-1", dry_run=True, not_before=iso(START + 3600), numbers=(TWO,))
    quiet = order(
        "dry-quiet-1", dry_run=True, numbers=(TWO,), hours=[{"start": iso(START + 60), "end": iso(START + 90)}]
    )
    lane.take(*of_run(1, dry_run=True), later, quiet, order("dry-empty-1", dry_run=True, numbers=()))
    shown = {name: state.get("reason", {}) for name, state in lane.shown().items()}
    assert shown[f"{RUN}-000"]["details"] == {"held": "number_halted"}
    assert shown["dry-later-1"]["details"]["at"] == iso(START + 3600)
    assert shown["dry-quiet-1"]["details"] == {"held": "quiet_hours", "until": iso(START + 60)}
    assert (lane.status("dry-empty-1"), shown["dry-empty-1"]["code"]) == ("failed_unsent", "no_route")
    assert lane.attempts == []
    assert not lane.state.messages


@pytest.mark.req("ING-21")
def test_a_dry_run_is_decided_once_over_a_death_and_repeats() -> None:
    lane = HandDriven()
    (made,) = of_run(1, dry_run=True)
    lane.take(made, start=False)
    lane.crash()
    lane.round()
    lane.take(made)
    assert lane.steps(f"{RUN}-000").count("rehearsed") == 1
    assert lane.attempts == []
    assert lane.shown()[f"{RUN}-000"]["home"] == HOME


def test_a_dry_run_that_the_person_refuses_is_cancelled_as_any_other() -> None:
    lane = HandDriven()
    lane.command("cancel_run", RUN)
    lane.take(*of_run(1, dry_run=True))
    assert lane.status(f"{RUN}-000") == "cancelled"


@pytest.mark.req("ING-21")
def test_a_dry_run_says_nothing_while_the_replicas_are_read() -> None:
    lane, fresh = HandDriven(), False
    lane.around.fresh = lambda: fresh
    lane.take(*of_run(1, dry_run=True))
    lane.round(5.0)
    assert lane.status(f"{RUN}-000") == "queued"
    assert next_wake(lane.state, lane.around, lane.now, None) == pytest.approx(lane.now + 0.5, abs=0.1)
    fresh = True
    lane.verdict(ONE, "halted")
    lane.round(1.0)
    assert lane.shown()[f"{RUN}-000"]["reason"]["details"] == {"held": "number_halted"}


@pytest.mark.req("ING-21")
def test_the_hash_of_a_rehearsed_request_tells_nobodys_number() -> None:
    """Numbers are few, and the rest of a request is often known: a plain hash of it would name the person."""
    hashes = []
    for to, body in (("+919999950050", "Asha"), ("+919999950051", "Asha"), ("+919999950050", "Ravi")):
        lane = HandDriven()
        template = {"type": "template", "name": "daily_update", "language": "en", "body": [body]}
        lane.take(*of_run(1, dry_run=True, to=to, template=template))
        hashes.append(lane.shown()[f"{RUN}-000"]["reason"]["details"]["request"])
    assert hashes[0] == hashes[1] != hashes[2]


DAY_BREAKS = [
    {"start": iso(START), "end": iso(START + 3600)},
    {"start": iso(START + 9 * 3600), "end": iso(START + 10 * 3600)},
]


def rehearsed(lane: HandDriven, slot: float, **more: Any) -> dict[str, Any]:
    """What a dry run says of a message that is scheduled so many seconds from the start."""
    lane.take(order("dry-00001", dry_run=True, at=START, not_before=iso(START + slot), **more))
    state = lane.shown()["dry-00001"]
    return {"status": state["status"], **state["reason"], **state["reason"].get("details", {})}


@pytest.mark.req("ING-21", "B16")
def test_a_dry_run_of_what_is_scheduled_is_decided_for_its_slot() -> None:
    """As the preview says, and as it is then sent: rehearsed at night, sent in the morning, and the other way round."""
    night = HandDriven()
    night.now = START + 2 * 3600
    found = rehearsed(night, 9.5 * 3600, hours=DAY_BREAKS)
    assert found["at"] == iso(START + 9.5 * 3600) and "held" not in found
    found = rehearsed(HandDriven(), 2 * 3600, hours=DAY_BREAKS)
    assert (found["held"], found["until"]) == ("quiet_hours", iso(START + 9 * 3600))
    over = rehearsed(HandDriven(), 2 * 3600, hours=DAY_BREAKS[:1])
    assert (over["status"], over["code"]) == ("expired", "no_send_time")
    closed = rehearsed(HandDriven(), 2 * 3600, form="session", valid_until=START + 3600)
    assert (closed["status"], closed["code"]) == ("failed_unsent", "window_closed")


@pytest.mark.req("ING-21")
def test_a_dry_run_reckons_with_a_number_and_a_cap_that_let_it_go_in_its_slot() -> None:
    lane = HandDriven(limits=Limits(per_second=2))
    lane.verdict(ONE, "paused", until=START + 3600)
    assert rehearsed(lane, 7200)["at"] == iso(START + 7200)
    early = HandDriven()
    early.verdict(ONE, "paused", until=START + 3600)
    assert rehearsed(early, 1800)["held"] == "number_paused"
    cap = {"purpose": "utility", "most": 1, "per_hours": 1}
    rules = rules_of(governance(compliance={"consent_mode": "opt_out", "frequency_caps": [cap]}).compliance)
    capped = HandDriven(policy=policy(contacts=rules))
    capped.take(order("real-0001", person_key="person of dry-00001"))
    assert rehearsed(capped, 1800)["code"] == "frequency_cap"
    later = HandDriven(policy=policy(contacts=rules))
    later.take(order("real-0001", person_key="person of dry-00001"))
    assert rehearsed(later, 7200)["at"] == iso(START + 7200)


@pytest.mark.req("ING-21", "B7")
@pytest.mark.parametrize(("slot", "told"), [(1800, {"held": "portfolio_limit"}), (7200, {"at": iso(START + 7200)})])
def test_a_dry_run_waits_for_no_place_that_is_free_in_its_slot(slot: float, told: dict[str, str]) -> None:
    lane = HandDriven()
    lane.fleet[ONE] = replace(lane.fleet[ONE], portfolio_id="portfolio-1", limited=True)
    said = {"portfolio_id": "portfolio-1", "version": 1, "at": iso(START), "limit": 250, "used": 250}
    units = {"homes": {HOME: {"granted": 0, "target": 5}}, "frees": [[1, iso(START + 3600)]]}
    lane.around.leases.take(PortfolioLease.model_validate(said | units))
    lane.state.places.of(("portfolio-1", HOME)).target = 5
    assert told.items() <= rehearsed(lane, slot).items()
