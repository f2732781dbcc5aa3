"""A lane and its portfolio's places: spent with the attempt, never without a unit, waited for in a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from harkara.contracts.intents import DEFAULT_LIFE
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.portfolios import UNLIMITED, PortfolioEvent
from harkara.dispatcher.journal import Entry
from harkara.dispatcher.places import HOPE_SECONDS, NO_ANSWER, NO_PLACE, RETOLD_SECONDS, TOO_LATE, Leases, Units
from harkara.dispatcher.projection import implied
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.spending import IDLE_SECONDS, asks_of, lease_changed
from harkara.dispatcher.wakeup import next_wake
from harkara.graph_api.outcome import NotSent
from harkara.policy.pacing import Limits, paced
from harkara.policy.portfolio import COUNTS_SECONDS, DAY_SECONDS, FREE_PASS_SECONDS, Ledger, evolve, lease_of
from tests.unit.dispatcher.fallbacks import attempts
from tests.unit.dispatcher.lanes import ACCEPTED, HOME, ONE, START, TIMEOUT, HandDriven, iso, order

PORTFOLIO = "300000000000001"
OTHER_HOME = "pool-b"
LONG = 3 * DAY_SECONDS
HOUR = 3600.0


@dataclass
class Recorded(HandDriven):
    """`transactions`: the entries of each commit."""

    transactions: list[list[Entry]] = field(default_factory=list)

    def write(self, decide: Callable[[Scribe], object]) -> list[Entry]:
        entries = super().write(decide)
        self.transactions.append(entries)
        return entries

    def persons(self) -> dict[str, str]:
        """Of each message for whom it is."""
        orders = [entry.data["order"] for entry in self.journal if entry.kind == "order" and entry.data is not None]
        return {each["message_id"]: each["person_key"] for each in orders}


@dataclass
class Exchange:
    """Two lanes of one portfolio, and its ledger between them."""

    limit: int
    ledger: Ledger = field(default_factory=lambda: Ledger(PORTFOLIO))
    lanes: dict[str, Recorded] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    asks: list[PortfolioEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        for home in (HOME, OTHER_HOME):
            lane = Recorded()
            for number, facts in list(lane.fleet.items()):
                lane.fleet[number] = replace(facts, home=home, portfolio_id=PORTFOLIO, limited=True)
            self.lanes[home], self.read[home] = lane, 0
        limit = {"kind": "limit", "limit": self.limit, "source": "policy"}
        self.append(PortfolioEvent.model_validate(limit | {"portfolio_id": PORTFOLIO, "at": iso(START)}), START)

    @property
    def lane(self) -> Recorded:
        return self.lanes[HOME]

    def append(self, event: PortfolioEvent, at: float) -> None:
        evolve(self.ledger, event, self.ledger.version + 1, at)

    def talk(self, home: str = HOME) -> None:
        """What the lane has journaled and wants is read by the ledger; its lease is read by the lane; a round follows,
        until nothing more is said."""
        lane = self.lanes[home]
        for _ in range(50):
            said = [e for entry in lane.journal[self.read[home] :] for e in implied(entry)]
            self.read[home] = len(lane.journal)
            asks = asks_of(lane.state, lane.around, lane.now)
            events = [e.event for e in (*said, *asks) if isinstance(e.event, PortfolioEvent)]
            self.asks += [event for event in events if event.kind == "wanted"]
            for event in events:
                self.append(event, lane.now)
            lane.around.leases.take(lease_of(self.ledger))
            lane.write(lambda scribe, lane=lane: lease_changed(scribe, lane.around, f"{PORTFOLIO}/{home}"))  # type: ignore[misc]
            if not lane.round(0.05) and not events:
                return
        raise AssertionError("they talk for ever")

    def send(self, people: range | list[int], home: str = HOME, prefix: str = "message", **more: Any) -> None:
        lane = self.lanes[home]
        values: dict[str, Any] = {"at": lane.now, "life": LONG, "home": home} | more
        lane.take(
            *(order(f"{prefix}-{n:03}", person_key=f"person-{n}", **values) for n in people),
        )
        self.talk(home)

    def called(self, home: str = HOME) -> list[str]:
        return [message_id for message_id, _, _, _ in self.lanes[home].attempts]


def held(lane: HandDriven) -> dict[str, tuple[str | None, float | None]]:
    """Of each message that is held now: why, and until when."""
    return {m.message_id: (m.reason, m.until) for m in lane.state.messages.values() if m.status == "held"}


@pytest.mark.req("B7")
def test_the_251st_person_is_held_with_the_reason_and_the_time_and_goes_then() -> None:
    made = Exchange(250)
    lane = fast(made)
    made.send(range(252))
    assert len(made.called()) == 250
    waiting = held(lane)
    assert sorted(waiting) == ["message-250", "message-251"]
    first = min(made.ledger.window.people)
    reason, until = waiting["message-250"]
    assert reason == NO_PLACE
    assert until == pytest.approx(first + COUNTS_SECONDS, abs=1e-3)
    told = [e.event for e in lane.emissions() if e.subject == "message-250"]
    last = told[-1]
    assert isinstance(last, MessageLifecycle) and last.reason is not None
    assert (last.status, last.reason.code) == ("held", NO_PLACE)
    assert last.hold_until is not None and last.hold_until.timestamp() == until
    for message_id, attempt in list(lane.under_way):
        lane.answer(ACCEPTED, message_id, attempt)
    made.send([7], prefix="again")
    assert made.called()[-1] == "again-007", "a person who counts needs no second place"
    assert len(made.ledger.window) == 250
    lane.now = first + COUNTS_SECONDS - 60
    lane.round()
    made.talk()
    assert sorted(held(lane)) == ["message-250", "message-251"], "not a minute too soon"
    assert made.called()[-1] == "again-007"
    lane.now = max(made.ledger.window.people) + COUNTS_SECONDS + 1
    lane.round()
    made.talk()
    assert made.called()[-2:] == ["message-250", "message-251"]


def fast(made: Exchange) -> Recorded:
    """The lane, with numbers that call as many at once as anybody sends."""
    for number, facts in list(made.lane.fleet.items()):
        made.lane.fleet[number] = replace(facts, capacity=1000)
    made.lane.capacity = 1000
    return made.lane


@pytest.mark.req("B7")
def test_whoever_is_over_the_limit_goes_within_the_life_that_a_message_has_by_default() -> None:
    made = Exchange(250)
    lane = fast(made)
    made.send(range(260), life=DEFAULT_LIFE.total_seconds())
    waiting = held(lane)
    assert len(waiting) == 10 and len(made.called()) == 250
    for message_id, (_, until) in waiting.items():
        assert until is not None and until < lane.state.messages[message_id].expires_at - HOUR
    for _ in range(60):
        lane.now += 1500
        made.talk()
    assert len(made.called()) == 260
    assert not [e for e in lane.journal if e.kind == "end" and e.data and e.data["status"] == "expired"]


@pytest.mark.req("B7")
def test_whoever_has_a_deadline_before_the_next_place_is_told_at_once_that_they_expire() -> None:
    made = Exchange(250)
    lane = fast(made)
    made.send(range(252), life=DAY_SECONDS)
    waiting = held(lane)
    assert {reason for reason, _ in waiting.values()} == {TOO_LATE} and len(waiting) == 2
    told = lane.shown()["message-250"]["reason"]
    assert told["code"] == TOO_LATE and "only after its deadline: it will expire" in told["text"]
    lane.round(HOUR)
    made.talk()
    assert held(lane) == waiting, "it is told once"
    lane.round(DAY_SECONDS - HOUR)
    made.talk()
    assert lane.status("message-250") == lane.status("message-251") == "expired" and len(made.called()) == 250


@pytest.mark.req("B7")
def test_one_that_is_told_it_expires_goes_where_a_place_is_given_back_in_time() -> None:
    made = Exchange(3)
    made.send([0], OTHER_HOME)
    made.send(range(1, 4), life=DAY_SECONDS)
    (late,) = held(made.lane)
    assert held(made.lane)[late][0] == TOO_LATE
    limit = {"kind": "limit", "limit": 4, "source": "policy", "portfolio_id": PORTFOLIO, "at": iso(made.lane.now)}
    made.append(PortfolioEvent.model_validate(limit), made.lane.now)
    made.lane.now += 20
    made.talk()
    assert made.called()[-1] == late and not held(made.lane)


@pytest.mark.req("B7")
def test_a_time_that_nobody_knows_is_no_reason_to_say_that_it_comes_too_late() -> None:
    made = Exchange(0)
    made.send([0], life=30.0)
    assert [reason for reason, _ in held(made.lane).values()] == [NO_PLACE], "nobody counts, so no place comes free"


@pytest.mark.req("B7")
def test_two_homes_share_the_limit_and_a_person_of_both_takes_one_place() -> None:
    made = Exchange(4)
    made.send(range(2))
    made.send([0, 10, 11, 12], OTHER_HOME)
    assert len(made.called()) == 2
    assert len(made.ledger.window) == 4, "person 0 counts once"
    assert len(made.called(OTHER_HOME)) == 3
    assert [reason for reason, _ in held(made.lanes[OTHER_HOME]).values()] == [NO_PLACE]


@pytest.mark.req("B7")
def test_whom_another_home_wrote_to_may_go_although_all_places_are_taken() -> None:
    made = Exchange(2)
    made.send(range(2))
    made.send([5, 1], OTHER_HOME)
    assert made.called(OTHER_HOME) == ["message-001"]
    assert list(held(made.lanes[OTHER_HOME])) == ["message-005"]
    assert len(made.ledger.window) == 2


def spent_on(lane: Recorded, entries: list[Entry]) -> tuple[list[str], list[str], int]:
    """Of one transaction: for whom attempts begin, on whom places are spent, and how many units are used up by it."""
    persons = lane.persons()
    begun, spent, units = list[str](), list[str](), 0
    for entry in entries:
        if attempts(entry):
            begun.append(persons[entry.key.partition("/")[0]])
        if entry.kind == "places" and entry.data is not None:
            newest = [each.data["sequence"] for each in lane.journal if each.key == entry.key and each.seq < entry.seq
                      and each.data is not None]  # fmt: skip
            spent += entry.data.get("persons", ())
            units += entry.data["sequence"] - max(newest, default=0) - entry.data.get("returned", 0)
    return begun, spent, units


def test_a_unit_is_journaled_with_the_attempt_and_a_crash_spends_none_twice() -> None:
    made = Exchange(3)
    lane = made.lane
    made.send(range(2))
    called = [person for entries in lane.transactions for person in spent_on(lane, entries)[0]]
    assert sorted(called) == ["person-0", "person-1"]
    for entries in lane.transactions:
        attempted, spent, units = spent_on(lane, entries)
        assert (attempted, len(attempted)) == (spent, units), "in the transaction of its attempts, a unit each"
    made.read[HOME] = 0  # the next owner reports all of it again
    lane.crash()
    lane.around.leases.take(lease_of(made.ledger))
    made.talk()
    assert (len(made.ledger.window), made.ledger.accounts[HOME].reported) == (2, lane.state.places.units[
        (PORTFOLIO, HOME)
    ].spent)  # fmt: skip
    made.send(range(2, 5))
    assert len(made.ledger.window) == 3
    assert len(held(lane)) == 2


def test_a_crash_before_the_commit_takes_the_unit_back_with_the_attempt() -> None:
    made = Exchange(1)
    lane = made.lane
    lane.take(order(person_key="person-0", life=LONG))
    committed = len(lane.journal)
    made.talk()
    assert lane.attempts
    lane.crash(committed)
    lane.attempts.clear()
    made.read[HOME] = committed
    made.talk()
    assert [each[0] for each in lane.attempts] == ["message-1"]
    assert len(made.ledger.window) == 1


@pytest.mark.req("B7")
def test_a_silent_ledger_holds_what_needs_a_place_and_sessions_go_on() -> None:
    made = Exchange(5)
    lane = made.lane
    lane.take(order("template-1", person_key="a", life=LONG))
    assert lane.attempts == []
    asked = asks_of(lane.state, lane.around, lane.now)
    assert [ask.event.wanted for ask in asked if isinstance(ask.event, PortfolioEvent)] == [1]
    lane.take(order("session-1", person_key="b", form="session", life=LONG))
    lane.round(HOPE_SECONDS + 0.1)
    lane.round(0.1)
    assert [each[0] for each in lane.attempts] == ["session-1"]
    assert held(lane) == {"template-1": (NO_ANSWER, None)}
    waits = next_wake(lane.state, lane.around, lane.now, None)
    assert waits is not None and waits <= lane.now + 2.0, "it is asked again"
    lane.round(2.0)
    made.talk()
    assert [each[0] for each in lane.attempts] == ["session-1", "template-1"]


def test_what_lies_idle_goes_back_and_others_get_it() -> None:
    made = Exchange(20)
    made.send(range(2))
    lane = made.lane
    lane.state.places.units[(PORTFOLIO, HOME)].batch = 20
    made.append(
        PortfolioEvent.model_validate(
            {
                "portfolio_id": PORTFOLIO,
                "kind": "wanted",
                "at": iso(lane.now),
                "home": HOME,
                "sequence": 2,
                "wanted": 18,
            }
        ),
        lane.now,
    )
    lane.around.leases.take(lease_of(made.ledger))
    lane.round()
    made.send(range(10, 13), OTHER_HOME)
    assert made.called(OTHER_HOME) == []
    due = next_wake(lane.state, lane.around, lane.now, None)
    assert due is not None and due <= lane.now + IDLE_SECONDS
    lane.round(IDLE_SECONDS)
    made.talk()
    assert made.ledger.accounts[HOME].outstanding == 0
    other = made.lanes[OTHER_HOME]
    other.now = lane.now
    other.around.leases.take(lease_of(made.ledger))
    made.talk(OTHER_HOME)
    assert len(made.called(OTHER_HOME)) == 3


def test_a_queue_that_moves_slowly_does_not_ask_again_for_what_it_has_just_given_back() -> None:
    made = Exchange(250)
    lane = made.lane
    lane.state.limits = {number: Limits(base_delay_seconds=60.0) for number in lane.fleet}
    made.send(range(30))
    asked, journaled = len(made.asks), len(lane.journal)
    for _ in range(50):
        lane.round(1.0)
        made.talk()
    assert made.called() == ["message-000"]
    assert made.ledger.accounts[HOME].outstanding == 0
    assert len(made.asks) - asked <= 1
    assert sum(entry.kind == "places" for entry in lane.journal[journaled:]) <= 2
    for _ in range(15):
        lane.round(1.0)
        made.talk()
    assert made.called() == ["message-000", "message-001"]


def test_units_that_a_crash_left_unused_go_back() -> None:
    """They are nowhere in the journal: the lease alone knows of them."""
    made = Exchange(5)
    lane = made.lane
    lane.take(order(person_key="a", life=LONG))
    for ask in asks_of(lane.state, lane.around, lane.now):
        assert isinstance(ask.event, PortfolioEvent)
        made.append(ask.event.model_copy(update={"wanted": 5}), lane.now)
    lane.command("cancel_message", "message-1")
    lane.crash()
    assert not lane.state.places.active
    made.talk()
    assert made.ledger.accounts[HOME].outstanding == 5
    lane.round(IDLE_SECONDS)
    made.talk()
    assert (made.ledger.accounts[HOME].outstanding, made.ledger.free) == (0, 5)


def test_an_attempt_that_never_left_keeps_its_place_for_the_next() -> None:
    made = Exchange(1)
    made.send([1])
    made.lane.answer(NotSent("lease"), "message-001")
    made.talk()
    assert made.called() == ["message-001", "message-001"]
    assert len(made.ledger.window) == 1


def test_a_repeat_near_the_end_of_the_day_takes_a_unit_again() -> None:
    made = Exchange(1)
    made.send([1])
    made.lane.answer(ACCEPTED, "message-001")
    made.lane.now = START + FREE_PASS_SECONDS + 10
    made.send([1], prefix="again")
    assert made.called() == ["message-001"]
    assert [reason for reason, _ in held(made.lane).values()] == [NO_PLACE]
    made.lane.now = START + COUNTS_SECONDS + 60
    made.lane.round()
    made.talk()
    assert made.called() == ["message-001", "again-001"]


def test_a_thousand_who_wait_are_told_once_and_move_in_their_order() -> None:
    made = Exchange(2)
    lane = made.lane
    made.send(range(1000))
    assert len(held(lane)) == 998
    steps = sum(entry.kind == "step" for entry in lane.journal)
    for _ in range(20):
        lane.round(30.0)
        made.talk()
    assert sum(entry.kind == "step" for entry in lane.journal) - steps < 20
    asked = len(made.asks)
    lane.round(RETOLD_SECONDS)
    made.talk()
    assert len(made.asks) - asked <= 10
    for message_id, attempt in list(lane.under_way):
        lane.answer(ACCEPTED, message_id, attempt)
    lane.now = START + COUNTS_SECONDS + 120
    lane.round()
    made.talk()
    assert made.called() == ["message-000", "message-001", "message-002", "message-003"]
    assert sum(entry.kind == "step" for entry in lane.journal) - steps < 998 * 2 + 100


@pytest.mark.parametrize("restart", [False, True])
def test_the_next_place_is_for_the_highest_priority_that_waits(restart: bool) -> None:
    made = Exchange(1)
    lane = made.lane
    made.send(range(5))
    made.send([6], prefix="sooner", priority=2)
    made.send([7, 8], prefix="urgent", priority=3)
    lane.command("prioritise_message", "message-004", priority=3)
    made.talk()
    assert len(held(lane)) == 7
    if restart:
        lane.crash()
        made.talk()
    for limit in range(2, 7):
        word = {"kind": "limit", "limit": limit, "source": "policy", "portfolio_id": PORTFOLIO, "at": iso(lane.now)}
        made.append(PortfolioEvent.model_validate(word), lane.now)
        made.talk()
    assert made.called()[0] == "message-000"
    first = ["urgent-007", "urgent-008", "message-004"]
    assert sorted(made.called()[1:4]) == sorted(first)
    assert made.called()[1:] == [*made.called()[1:4], "sooner-006", "message-001"]


def test_two_messages_to_one_person_wait_for_one_place() -> None:
    made = Exchange(1)
    made.send([1])
    made.send([2])
    made.send([2], prefix="second")
    assert len(held(made.lane)) == 2
    made.lane.answer(ACCEPTED, "message-001")
    made.lane.now = START + COUNTS_SECONDS + 60
    made.lane.round()
    made.talk()
    made.lane.answer(ACCEPTED, "message-002")
    made.talk()
    assert made.called() == ["message-001", "message-002", "second-002"]
    assert len(made.ledger.window) == 1


def test_one_in_doubt_counts_and_a_cancelled_one_leaves_the_line() -> None:
    made = Exchange(1)
    made.send([1])
    made.lane.answer(TIMEOUT, "message-001")
    made.send([2, 3])
    made.lane.command("cancel_message", "message-002")
    assert list(held(made.lane)) == ["message-003"]
    made.lane.now = START + COUNTS_SECONDS + 60
    made.lane.round()
    made.talk()
    assert made.called()[-1] == "message-003"


def test_a_new_owner_keeps_the_line_and_says_nothing_anew() -> None:
    made = Exchange(1)
    made.send(range(5))
    before = held(made.lane)
    steps = len(made.lane.journal)
    made.lane.crash()
    made.lane.around.leases = Leases()
    made.lane.round(0.1)
    assert held(made.lane) == before
    assert sum(entry.kind == "step" for entry in made.lane.journal[steps:]) == 1, "the one whose call was under way"


def test_who_was_let_go_is_remembered_no_longer_than_it_may_go() -> None:
    """Also where nobody waits behind it: the line in which it stood is no more."""
    made = Exchange(1)
    lane = made.lane
    made.send([1])
    made.send([2])
    assert list(held(lane)) == ["message-002"]
    lane.state.number(ONE).pace = paced(ONE, Limits(base_delay_seconds=60.0), lane.state.number(ONE).pace)
    word = {"kind": "limit", "limit": 2, "source": "policy", "portfolio_id": PORTFOLIO, "at": iso(lane.now)}
    made.append(PortfolioEvent.model_validate(word), lane.now)
    made.talk()
    lane.round(0.1)
    places = lane.state.places
    assert (lane.state.messages["message-002"].status, list(places.let), places.lines) == (
        "queued",
        ["message-002"],
        {},
    )
    lane.command("cancel_message", "message-002")
    lane.round(0.1)
    assert (made.called(), places.let) == (["message-001"], {})


class TestWithoutALimit:
    """Meta has no limit for the portfolio: nobody waits, and only the ledger remembers whom was written to."""

    @pytest.mark.req("B7")
    def test_lanes_remember_nobody_and_the_ledger_everybody(self) -> None:
        made = Exchange(UNLIMITED)
        made.send(range(40))
        for message_id, attempt in list(made.lane.under_way):
            made.lane.answer(ACCEPTED, message_id, attempt)
        made.talk()
        made.send(range(10), prefix="again")
        made.talk()
        assert len(made.called()) >= 40
        assert made.lane.state.places.counted == {PORTFOLIO: {}}
        assert len(made.ledger.window) == 40
        assert held(made.lane) == {}

    @pytest.mark.req("B7")
    @pytest.mark.parametrize("restart", [False, True])
    def test_where_meta_lowers_it_the_day_before_counts(self, restart: bool) -> None:
        made = Exchange(UNLIMITED)
        lane = made.lane
        made.send(range(5))
        for message_id, attempt in list(lane.under_way):
            lane.answer(ACCEPTED, message_id, attempt)
        lane.round(IDLE_SECONDS)
        made.talk()
        word = {"kind": "limit", "limit": 6, "source": "meta", "portfolio_id": PORTFOLIO, "at": iso(lane.now)}
        made.append(PortfolioEvent.model_validate(word), lane.now)
        if restart:
            lane.crash()
        lane.round(6)
        made.talk()
        made.send([0, 1, 50, 51, 2], prefix="later")
        lane.round(1.0)
        made.talk()
        assert sorted(made.called()[5:]) == ["later-000", "later-001", "later-002", "later-050"]
        assert list(held(lane)) == ["later-051"], "five counted: there was one place"
        assert len(made.ledger.window) == 6


@pytest.mark.req("B7")
def test_an_answer_that_is_announced_takes_no_place_whether_it_goes_or_is_refused() -> None:
    """Places are templates' and the indicator is an answer's: what waits behind the one has never taken the other."""
    made = Exchange(5)
    lane = made.lane
    for number, facts in list(lane.fleet.items()):
        lane.fleet[number] = replace(facts, limits=Limits(typing_seconds=(1.0, 2.0)))
    lane.state.limits = {number: facts.limits for number, facts in lane.fleet.items()}
    lane.state.numbers.clear()
    lane.state.number(ONE).heard.note("person-1", "wamid.theirs")
    lane.take(order(person_key="person-1", form="session", life=LONG))
    assert lane.state.messages["message-1"].reason == "typing"
    lane.command("cancel_message", "message-1")
    lane.round(3.0)
    made.talk()
    assert (lane.attempts, len(made.ledger.window), lane.state.places.units) == ([], 0, {(PORTFOLIO, HOME): Units()})


def test_without_a_portfolio_nothing_is_asked() -> None:
    lane = HandDriven()
    lane.take(order())
    assert lane.attempts[0][2] == ONE
    assert not lane.state.places.active
    assert asks_of(lane.state, lane.around, lane.now) == []
