"""A person known by phone and by user id is one person for the lanes (B17): denials, cancels, order, pair limit."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Literal

import pytest

from harkara.contracts.consent import ConsentEvent, ConsentState, advance_consent
from harkara.contracts.event import event_id
from harkara.contracts.persons import PersonAlias, alias_record_key
from harkara.contracts.topics import CONSENT_STATE, PERSON_IDENTITIES
from harkara.dispatcher.denials import Denials
from harkara.dispatcher.kinship import cancel_elsewhere, lined
from harkara.dispatcher.links import Links
from harkara.dispatcher.orders import message_of, order_of
from harkara.dispatcher.pairs import BURST
from harkara.dispatcher.plan import last_gate
from harkara.dispatcher.senders import body_of
from harkara.policy.aliases import Aliases
from harkara.runtime.settings import KafkaSettings, ServiceSettings
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, HandDriven, iso, order, refused

Kind = Literal["user_id", "user_id_changed", "number_changed", "wa_id"]
P, P2, Q = (event_id("phone", n) for n in range(3))
U, U2, V = (event_id("user id", n) for n in range(3))
USER_ID = "IN.20450000919999950050"
NOT_MINE = "person of somebody else"


def alias(person: str = P, other: str = U, kind: Kind = "user_id", seconds: float = 0) -> PersonAlias:
    return PersonAlias(person_key=person, alias_key=other, kind=kind, at=at(seconds))


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(START, UTC) + timedelta(seconds=seconds)


def said(person: str, *changes: tuple[str, float]) -> ConsentState:
    state: ConsentState | None = None
    for number, (standing, seconds) in enumerate(changes):
        event = {"event_id": f"e{number}", "person_key": person, "standing": standing, "source": "keyword"}
        state = advance_consent(state, ConsentEvent.model_validate(event | {"at": at(seconds)}))
    assert state is not None
    return state


class Known(HandDriven):
    """A lane with the replica of words and links, told of both as the shell tells it."""

    def __post_init__(self) -> None:
        self.replica = Denials(ServiceSettings(service="t", kafka=KafkaSettings()), self._denied, self._linked)
        self.denials = self.replica.by_person
        super().__post_init__()
        self.around.links = self.replica.links

    def _denied(self, name: str) -> None:
        for message in self.state.recipients.of(name):
            self.state.unplaced.add(message)

    def _linked(self, names: list[str]) -> None:
        for name in names:
            self.write(lambda scribe, name=name: cancel_elsewhere(scribe, self.around, name))  # type: ignore[misc]

    def hear(self, *events: ConsentState | PersonAlias) -> None:
        for event in events:
            if isinstance(event, PersonAlias):
                self.replica._apply(PERSON_IDENTITIES, alias_record_key(event), event)
            else:
                self.replica._apply(CONSENT_STATE, event.person_key, event)

    def take(self, *orders: dict[str, Any], start: bool = True) -> None:
        for each in orders:
            super().take(lined(each, self.state, self.around), start=start)


def to_user_id(message_id: str, **more: Any) -> dict[str, Any]:
    return order(message_id, **({"person_key": U, "to": None, "user_id": USER_ID} | more))


def to_phone(message_id: str, **more: Any) -> dict[str, Any]:
    return order(message_id, **({"person_key": P} | more))


# --- denials -----------------------------------------------------------------------------------------------------


@pytest.mark.req("B17", "CMP-2")
@pytest.mark.parametrize("standing", ["opted_out", "paused", "blocked"])
@pytest.mark.parametrize("refused_by", ["user id", "phone"])
@pytest.mark.parametrize("link_first", [True, False])
def test_a_refusal_under_one_name_keeps_back_what_is_for_the_other(
    standing: str, refused_by: str, link_first: bool
) -> None:
    lane = Known()
    by, order_to = (U, to_phone("message-1")) if refused_by == "user id" else (P, to_user_id("message-1"))
    word = said(by, (standing, 1))
    lane.hear(*((alias(), word) if link_first else (word, alias())))
    lane.take(order_to, order("message-2", person_key=Q))
    assert lane.shown()["message-1"]["reason"]["code"] == f"consent_{standing}"
    assert [attempt[0] for attempt in lane.attempts] == ["message-2"]


@pytest.mark.req("B17", "CMP-2")
@pytest.mark.parametrize("last", ["link", "word"])
@pytest.mark.parametrize("hold", [True, False])
def test_what_waits_ends_with_the_link_or_word_that_makes_it_a_refusal(last: str, hold: bool) -> None:
    """In the next round, queued behind a call or held; and a call that is journaled does not leave any more."""
    lane = Known(capacity=1)
    lane.take(order("message-0", person_key=Q))
    if hold:
        lane.verdict(ONE, "paused")
    lane.take(to_phone("message-1"))
    word = said(U, ("opted_out", 1))
    first, second = (word, alias()) if last == "link" else (alias(), word)
    lane.hear(first)
    lane.round()
    assert lane.status("message-1") == ("held" if hold else "queued")
    lane.hear(second)
    lane.round()
    assert lane.status("message-1") == "cancelled"


@pytest.mark.req("B17", "B10")
def test_the_last_gate_sees_a_link_that_came_after_the_attempt_was_journaled() -> None:
    lane = Known()
    lane.take(to_phone("message-1"))
    message = lane.state.messages["message-1"]
    lane.hear(said(U, ("opted_out", 1)))
    assert last_gate(lane.state, lane.around, message, lane.now) is None
    lane.hear(alias())
    assert last_gate(lane.state, lane.around, message, lane.now) == "consent_opted_out"


def test_the_latest_word_of_all_names_holds_and_what_was_cancelled_stays_so() -> None:
    """As the guard joins them. The guard writes what was said under the user id under the phone too."""
    words = said(U, ("opted_out", 1)), said(P, ("opted_out", 1), ("opted_in", 5))
    told: list[ConsentState | PersonAlias] = [*words, alias()]
    for events in itertools.permutations(told):
        lane = Known(now=START + 9)
        lane.hear(*events)
        lane.take(to_phone("message-1", at=START), to_user_id("message-2", at=START), start=False)
        lane.take(to_phone("message-3", at=START + 8), to_user_id("message-4", at=START + 8))
        lane.round()
        statuses = [lane.status(f"message-{n}") for n in (1, 2)]
        assert statuses == ["cancelled", "cancelled"]
        assert [attempt[0] for attempt in lane.attempts][:1] == ["message-3"]
        lane.answer(ACCEPTED, "message-3")
        assert [attempt[0] for attempt in lane.attempts] == ["message-3", "message-4"]


@pytest.mark.req("B17")
def test_of_a_number_that_was_given_up_only_what_was_said_before_counts() -> None:
    for before, cancelled in ((9.0, True), (11.0, False)):
        lane = Known(now=START + 20)
        lane.hear(alias(P2, P, "number_changed", 10), said(P, ("opted_out", before)))
        lane.take(order("message-1", person_key=P2))
        assert (lane.status("message-1") == "cancelled") is cancelled
        lane.hear(said(P2, ("opted_out", 15)))
        lane.take(order("message-2", person_key=P, at=START + 19))
        assert lane.status("message-2") == "cancelled", "it is the word of whoever has the number now"


def test_who_takes_it_back_is_forgotten_under_every_name() -> None:
    lane = Known()
    lane.hear(alias(), said(U, ("opted_out", 1)))
    assert set(lane.denials) == {P, U}
    lane.hear(said(U, ("opted_in", 2)))
    assert not lane.denials
    lane.hear(said(U, ("opted_out", 3)))
    lane.replica._apply(CONSENT_STATE, U, None)
    assert not lane.denials
    lane.replica._apply(PERSON_IDENTITIES, f"{P}:{U}", None)
    assert len(lane.replica.links) == 1


@pytest.mark.req("B17")
def test_where_the_intent_gives_both_names_a_refusal_under_either_counts_without_a_link() -> None:
    lane = Known()
    lane.take(to_phone("message-1", also_key=U), start=False)
    lane.hear(said(U, ("opted_out", 1)))
    lane.round()
    assert lane.status("message-1") == "cancelled"
    lane.take(to_phone("message-2", also_key=V, at=START), start=False)
    lane.command("cancel_recipient", V, at=iso(START + 1))
    assert lane.status("message-2") == "cancelled"
    assert not lane.state.recipients._elsewhere and not lane.state.recipients._lines


# --- cancels -----------------------------------------------------------------------------------------------------


@pytest.mark.req("B17", "ING-20")
@pytest.mark.parametrize("order_of_arrival", list(itertools.permutations(["link", "message", "cancel"])))
@pytest.mark.parametrize("cancelled_by", [P, U])
def test_a_cancel_for_a_person_ends_what_waits_under_any_name(
    order_of_arrival: tuple[str, ...], cancelled_by: str
) -> None:
    lane = Known()
    lane.verdict(ONE, "paused")
    wanted = to_user_id("message-1") if cancelled_by == P else to_phone("message-1")
    for step in order_of_arrival:
        if step == "link":
            lane.hear(alias())
        elif step == "message":
            lane.take(wanted)
        else:
            lane.now += 1
            lane.command("cancel_recipient", cancelled_by)
    lane.take(order("message-2", person_key=Q))
    lane.round()
    assert lane.status("message-1") == "cancelled" and lane.status("message-2") == "held"
    lane.crash()
    assert {target for _, target in lane.state.cancels} == {P, U}


def test_a_link_that_came_while_nobody_had_the_lane_counts_for_its_cancels() -> None:
    lane = Known()
    lane.verdict(ONE, "paused")
    lane.take(to_phone("message-1"))
    lane.now += 1
    lane.command("cancel_recipient", U)
    lane.crash()
    lane.replica.links.apply(alias())
    lane.round()
    assert lane.status("message-1") == "held"
    for person in lane.state.cancelled_recipients():
        lane.write(lambda scribe, person=person: cancel_elsewhere(scribe, lane.around, person))  # type: ignore[misc]
    lane.round()
    assert lane.status("message-1") == "cancelled"


# --- order and pair limit ----------------------------------------------------------------------------------------


@pytest.mark.req("B17", "ING-19")
def test_messages_to_both_names_of_a_person_go_one_after_another_also_after_a_crash() -> None:
    lane = Known()
    lane.hear(alias())
    lane.take(to_phone("message-1"), to_user_id("message-2"), to_phone("message-3"), order("message-4", person_key=Q))
    assert [attempt[0] for attempt in lane.attempts] == ["message-1", "message-4"]
    lane.answer(refused(131016, 500), "message-1")
    assert lane.status("message-1") == "retrying" and lane.status("message-2") == "queued"
    lane.crash()
    lane.round(60.0)
    for number in (1, 2, 3):
        lane.answer(ACCEPTED, f"message-{number}")
    assert [attempt[0] for attempt in lane.attempts][2:] == ["message-1", "message-2", "message-3"]


def test_what_waits_when_a_link_comes_is_overtaken_by_nothing_that_comes_later() -> None:
    lane = Known()
    lane.take(to_user_id("message-1"), to_user_id("message-2"))
    lane.hear(alias())
    lane.take(to_user_id("message-3"))
    assert [attempt[0] for attempt in lane.attempts] == ["message-1"]
    for number in (1, 2, 3):
        lane.answer(ACCEPTED, f"message-{number}")
    assert [attempt[0] for attempt in lane.attempts] == ["message-1", "message-2", "message-3"]
    lane.take(to_user_id("message-4"))
    assert lane.state.messages["message-4"].line == P


@pytest.mark.req("B17")
def test_the_pair_limit_is_the_persons() -> None:
    lane = Known()
    lane.hear(alias())
    for number in range(BURST):
        make = to_phone if number % 2 else to_user_id
        lane.take(make(f"message-{number}"))
        lane.answer(ACCEPTED, f"message-{number}")
    lane.take(to_user_id("message-last"))
    assert len(lane.attempts) == BURST
    lane.round(6.1)
    assert lane.attempts[-1][0] == "message-last"
    lane.answer(refused(131056), "message-last")
    lane.take(to_phone("message-phone"))
    assert lane.attempts[-1][0] == "message-last", "the pair is held under every name"


def test_an_order_keeps_both_names_and_its_line_and_the_request_has_the_one_that_is_written_to() -> None:
    both = order(person_key=P, also_key=U, user_id=USER_ID) | {"line": P2}
    message = message_of(both, 1, None)
    kept = order_of(message)
    assert (kept["line"], kept["also_key"], kept["user_id"]) == (P2, U, USER_ID)
    assert message_of(kept, 2, None).names == (P, U)
    lane = Known()
    lane.take(to_user_id("message-1"), order("message-2", user_id=USER_ID))
    bodies = [body_of(lane.state.messages[f"message-{n}"]) for n in (1, 2)]
    assert (bodies[0]["recipient"], "to" in bodies[0]) == (USER_ID, False)
    assert (bodies[1]["to"], "recipient" in bodies[1]) == ("+919999950050", False)


@pytest.mark.req("ING-21")
def test_a_dry_run_to_a_user_id_names_nobody_in_its_hash() -> None:
    lane = Known()
    lane.take(to_user_id("message-1", dry_run=True), to_user_id("message-2", dry_run=True, user_id=USER_ID + "0"))
    reasons = [lane.shown()[f"message-{n}"]["reason"]["details"]["request"] for n in (1, 2)]
    assert len(set(reasons)) == 2, "the callback data differ"
    assert lane.status("message-1") == "rehearsed"


# --- the table of links ------------------------------------------------------------------------------------------


def random_links(random: Random, count: int) -> Iterable[PersonAlias]:
    names = [event_id("name", n) for n in range(max(4, count // 3))]
    kinds: tuple[Kind, ...] = ("user_id", "user_id", "user_id", "user_id_changed", "number_changed", "wa_id")
    for _ in range(count):
        person, other = random.sample(names, 2)
        yield alias(person, other, random.choice(kinds), random.randrange(100))


@pytest.mark.parametrize("seed", range(20))
def test_the_small_table_says_what_guard_and_router_say(seed: int) -> None:
    """The same names with the same ends, whatever the order and however often a link is told."""
    random = Random(seed)
    told = list(random_links(random, 12))
    aliases, links = Aliases(), Links()
    for each in told:
        aliases.apply(each)
    for each in random.sample(told * 2, len(told) * 2):
        links.apply(each)
    for name in {name for each in told for name in (each.person_key, each.alias_key)}:
        assert links.names(name) == aliases.names(name)
        assert {found.hex() for found in links.names(name)} <= set(links.kin(name))


def test_many_links_are_found_again_and_take_little() -> None:
    links = Links()
    pairs = [(event_id("p", n), event_id("u", n)) for n in range(20_000)]
    for phone, user_id in pairs:
        assert links.apply(alias(phone, user_id))
        assert not links.apply(alias(phone, user_id, seconds=5))
    assert len(links) == 20_000
    for phone, user_id in pairs[::50]:
        assert links.kin(phone) == [phone, user_id] and links.kin(user_id) == [user_id, phone]
        assert links.line(user_id) == phone and links.line(phone) == phone
    assert links.held_bytes / len(links) < 64
    assert links.names(NOT_MINE) == {} and links.kin(NOT_MINE) == [NOT_MINE] and links.line(NOT_MINE) == NOT_MINE
    assert not links.apply(alias(P, P)) and not links.apply(alias(P, NOT_MINE))


def test_the_line_of_a_user_id_is_its_phones_through_changes_of_the_id() -> None:
    links = Links()
    links.apply(alias(U2, U, "user_id_changed"))
    assert links.line(U2) == U2
    links.apply(alias(P, U))
    assert links.line(U2) == P and links.line(U) == P
    links.apply(alias(P2, P, "number_changed", 5))
    assert links.line(P) == P and links.line(P2) == P2


@pytest.mark.req("B17", "CMP-7")
def test_words_and_links_are_one_replica_so_no_call_starts_while_either_is_stale() -> None:
    table = Denials(ServiceSettings(service="t", kafka=KafkaSettings())).table
    assert {topic.name for topic in table._topics.values()} == {CONSENT_STATE.name, PERSON_IDENTITIES.name}
    assert not table.fresh()


def test_an_order_to_somebody_for_whom_thousands_wait_is_lined_without_a_look_at_each() -> None:
    lane = HandDriven()
    person = "ab" * 16
    lane.take(*(order(f"message-{n}", person_key=person) for n in range(3000)), start=False)
    tracemalloc.start()
    try:
        assert lane.state.recipients.line_name(person) == person
        assert tracemalloc.get_traced_memory()[1] < 3000, "no list of all of them"
    finally:
        tracemalloc.stop()
