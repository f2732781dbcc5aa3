"""Frequency caps and duplicate content in the lane: exact whatever is queued, kept over restarts, told with reasons."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.contracts.event import Decision
from harkara.contracts.intents import Category
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.persons import PersonAlias
from harkara.dispatcher.doubt import quarantine_seconds
from harkara.dispatcher.evidence import take_echo
from harkara.dispatcher.recent import MOST_A_DAY, Attempt, Recent
from harkara.dispatcher.settle import settle
from harkara.graph_api.outcome import Accepted, NotSent, Outcome
from harkara.policy.contacts import ContactRules, rules_of
from harkara.policy.explain import decided_again
from tests.unit.dispatcher.lanes import (
    ACCEPTED,
    HOME,
    LEASE,
    ONE,
    START,
    THREE,
    TIMEOUT,
    HandDriven,
    iso,
    order,
    policy,
    refused,
)
from tests.unit.policy.cases import policy as governance

DAY, HOUR = 86_400.0, 3600.0
PERSON, USER = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
MARK, OTHER_MARK = "00112233aabbccdd", "ffeeddccbbaa9988"
ONE_A_DAY = {"frequency_caps": [{"purpose": "marketing", "most": 1, "per_hours": 24}]}
TWO_A_DAY = {"frequency_caps": [{"purpose": "marketing", "most": 2, "per_hours": 24}]}
ONCE = {"duplicate_content": {"within_hours": 24}}
OTHER_TEMPLATE = {"type": "template", "name": "weekly_update", "language": "en", "body": ["Asha"]}


def rules(**compliance: Any) -> ContactRules:
    return rules_of(governance(compliance={"consent_mode": "opt_out"} | compliance).compliance)


def lane_of(compliance: dict[str, Any], **more: Any) -> HandDriven:
    return HandDriven(policy=policy(contacts=rules(**compliance), version="0123456789ab"), **more)


def note(n: int, **more: Any) -> dict[str, Any]:
    return order(f"message-{n}", **({"person_key": PERSON, "category": "marketing"} | more))


def ended(lane: HandDriven, message_id: str) -> MessageLifecycle:
    """The last event of the message."""
    return [
        each.event
        for each in lane.emissions()
        if isinstance(each.event, MessageLifecycle) and each.subject == message_id
    ][-1]


def reason_of(lane: HandDriven, message_id: str) -> str | None:
    event = ended(lane, message_id)
    return None if event.reason is None else event.reason.code


def end_of(lane: HandDriven, made: dict[str, Any]) -> str | None:
    """Why the message ends whose order comes now."""
    lane.take(made)
    return reason_of(lane, made["message_id"])


@pytest.mark.req("B25")
def test_of_five_queued_together_two_go_and_three_end_with_the_reason() -> None:
    lane = lane_of(TWO_A_DAY)
    lane.take(*(note(n) for n in range(5)))
    while lane.under_way:
        lane.answer(ACCEPTED, *lane.under_way[0])
    assert len(lane.attempts) == 2
    over = [f"message-{n}" for n in range(5) if lane.status(f"message-{n}") == "cancelled"]
    assert len(over) == 3
    for message_id in over:
        reason = ended(lane, message_id).reason
        assert reason is not None
        assert (reason.code, reason.rule, reason.policy_version) == (
            "frequency_cap", "compliance.frequency_caps", "0123456789ab",
        )  # fmt: skip
        next_at = iso(START + DAY + quarantine_seconds(lane.around))
        assert reason.details == {
            "purpose": "marketing", "most": "2", "per_hours": "24", "count": "2", "next_at": next_at,
        }  # fmt: skip
        assert next_at in reason.text and "2 marketing messages" in reason.text


@pytest.mark.req("B25")
def test_another_home_counts_for_itself_also_where_it_shares_the_lane() -> None:
    lane = lane_of(ONE_A_DAY | ONCE)
    lane.fleet[THREE] = replace(lane.fleet[THREE], home="pool-b")
    lane.take(note(1, marks={"template": MARK}))
    lane.answer(ACCEPTED, "message-1")
    for n in (2, 3):
        plan = [{"phone_number_id": THREE, "form": "template"}]
        lane.take(note(n, home="pool-b", plan=plan, marks={"template": MARK}))
    assert [each[0] for each in lane.attempts] == ["message-1", "message-2"]
    lane.answer(ACCEPTED, "message-2")
    assert reason_of(lane, "message-3") == "frequency_cap"
    compacted(lane)
    lane.crash()
    assert end_of(lane, note(4)) == "frequency_cap"
    (contact,) = lane.state.recent.others([PERSON], ["marketing"], "", "pool-b")
    assert contact.message_id == "message-2"


@pytest.mark.req("B25", "B17")
@pytest.mark.parametrize(("first", "second"), [(PERSON, USER), (USER, PERSON)])
def test_what_went_to_a_person_under_another_name_counts(first: str, second: str) -> None:
    lane = lane_of(ONE_A_DAY)
    lane.take(note(1, person_key=first))
    lane.answer(ACCEPTED, "message-1")
    link = {"person_key": PERSON, "alias_key": USER, "kind": "user_id", "at": iso(lane.now)}
    lane.around.links.apply(PersonAlias.model_validate(link))
    assert end_of(lane, note(2, person_key=second)) == "frequency_cap"


def test_a_refusal_is_made_again_from_what_is_kept_of_it() -> None:
    lane = lane_of(TWO_A_DAY | ONCE)
    lane.take(*(note(n, category="marketing") for n in range(3)))
    for _ in range(3):
        for message_id, attempt in list(lane.under_way):
            lane.answer(ACCEPTED, message_id, attempt)
    refusing = governance(compliance={"consent_mode": "opt_out"} | TWO_A_DAY | ONCE)
    decision = ended(lane, "message-2").decision
    assert decision is not None and decision.step == "contact"
    kept = Decision.model_validate_json(decision.model_dump_json())
    again = decided_again(kept, refusing)
    assert again.same and again.reason is not None and again.reason.code == "frequency_cap"
    assert again.reason.policy_version == refusing.version
    looser = governance(compliance={"consent_mode": "opt_out"})
    assert not decided_again(kept, looser).same


@pytest.mark.parametrize("outcome", [refused(131026), NotSent("invalid")])
def test_a_refused_attempt_gives_its_place_back(outcome: Outcome) -> None:
    lane = lane_of(ONE_A_DAY)
    lane.take(note(1))
    lane.answer(outcome, "message-1")
    lane.take(note(2))
    assert [each[0] for each in lane.attempts] == ["message-1", "message-2"]
    lane.crash()
    lane.answer(ACCEPTED, "message-2")
    assert end_of(lane, note(3)) == "frequency_cap"


@pytest.mark.parametrize("crash", [False, True])
def test_what_may_have_had_an_effect_keeps_its_place(crash: bool) -> None:
    lane = lane_of(ONE_A_DAY)
    lane.take(note(1))
    if crash:
        lane.crash()  # between the journal and the answer
    else:
        lane.answer(TIMEOUT, "message-1")
    lane.take(note(2))
    assert lane.status("message-1") == "in_doubt"
    assert reason_of(lane, "message-2") == "frequency_cap"


def test_another_attempt_of_the_same_message_is_no_second_contact() -> None:
    lane = lane_of({"frequency_caps": [{"purpose": "transactional", "most": 1, "per_hours": 24}]})
    lane.take(note(1, category="utility"))
    lane.answer(refused(131016, 500), "message-1")  # known not accepted: tried again
    lane.round(600.0)
    lane.answer(TIMEOUT, "message-1")
    lane.now += 60.0
    lane.command("resolve_in_doubt", "message-1", resolution="resend")
    lane.crash()
    lane.round()
    assert [each[:2] for each in lane.attempts] == [("message-1", 1), ("message-1", 2), ("message-1", 3)]
    lane.answer(ACCEPTED, "message-1")
    assert end_of(lane, note(2, category="authentication")) == "frequency_cap"


def test_the_refused_resend_of_a_doubtful_attempt_leaves_the_doubtful_one_counted() -> None:
    lane = lane_of(ONE_A_DAY)
    lane.take(note(1))
    lane.answer(TIMEOUT, "message-1")
    lane.now += 60.0
    lane.command("resolve_in_doubt", "message-1", resolution="resend")
    lane.round()
    lane.answer(refused(131026), "message-1")
    assert lane.status("message-1") != "attempting"
    lane.crash()
    assert end_of(lane, note(2)) == "frequency_cap"


def test_the_place_is_free_again_when_the_span_is_over_and_not_before() -> None:
    lane = lane_of(ONE_A_DAY)
    lane.take(note(1))
    lane.answer(ACCEPTED, "message-1")
    lane.now = START + DAY + quarantine_seconds(lane.around) - 0.001
    assert end_of(lane, note(2, at=lane.now)) == "frequency_cap"
    lane.now = START + DAY + quarantine_seconds(lane.around)
    lane.take(note(3, at=lane.now))
    assert lane.attempts[-1][0] == "message-3"


@pytest.mark.req("B25")
@pytest.mark.parametrize("slowest", [{}, {"lease_seconds": 5.0, "request_timeout_seconds": 60.0}])
@pytest.mark.parametrize("restart", [False, True])
def test_a_contact_of_seven_days_is_remembered_to_its_last_moment(slowest: dict[str, float], restart: bool) -> None:
    """Made as a day and a quarter of it end, with which what is older is forgotten."""
    week = rules(frequency_caps=[{"purpose": "marketing", "most": 1, "per_hours": 168}])
    midnight = (START // DAY + 1) * DAY
    lane = HandDriven(policy=policy(contacts=week, version="0123456789ab", **slowest), now=midnight - 0.5)
    lane.take(note(1, at=lane.now))
    lane.answer(ACCEPTED, "message-1")
    until = midnight - 0.5 + 7 * DAY + quarantine_seconds(lane.around)
    lane.now = until - 0.25
    for _ in range(3):
        lane.round(0.001)
    if restart:
        lane.crash()
    assert end_of(lane, note(2, at=lane.now)) == "frequency_cap"
    lane.now = until
    lane.take(note(3, at=lane.now))
    assert lane.attempts[-1][0] == "message-3"
    lane.round(DAY)
    assert lane.state.horizon.find("message-1") is None


def test_persons_and_purposes_are_counted_apart() -> None:
    lane = lane_of(TWO_A_DAY)
    for n in range(2):
        lane.take(note(n))
        lane.answer(ACCEPTED, f"message-{n}")
    lane.take(note(2, category="utility"), note(3, person_key="f" * 32), note(4))
    assert [each[0] for each in lane.attempts] == ["message-0", "message-1", "message-2", "message-3"]


def test_the_same_words_go_once_and_others_go() -> None:
    lane = lane_of(ONCE)
    lane.take(note(1, category="utility", marks={"template": MARK}))
    lane.answer(ACCEPTED, "message-1")
    lane.crash()
    lane.take(note(2, category="utility", marks={"template": MARK}))
    reason = ended(lane, "message-2").reason
    assert reason is not None
    assert (reason.code, reason.rule) == ("duplicate_content", "compliance.duplicate_content")
    assert reason.details["earlier_message_id"] == "message-1" and "message-1" in reason.text
    lane.take(note(3, category="utility", marks={"template": OTHER_MARK}), note(4, category="utility"))
    lane.round()
    assert {"message-3", "message-4"} >= {each[0] for each in lane.attempts[1:]} != set()
    assert reason_of(lane, "message-3") != "duplicate_content"


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"category": "authentication"}, {"category": "authentication"}),
        ({"answers": iso(START)}, {}),
        ({}, {"answers": iso(START)}),
        ({}, {"person_key": "f" * 32}),
    ],
)
def test_what_the_guard_is_not_about(earlier: dict[str, Any], later: dict[str, Any]) -> None:
    """Codes, confirmations of a person's own command (neither counted nor asked), other people."""
    lane = lane_of(ONCE | ONE_A_DAY)
    lane.take(note(1, marks={"template": MARK}, **earlier))
    lane.answer(ACCEPTED, "message-1")
    lane.take(note(2, marks={"template": MARK}, **later))
    assert [each[0] for each in lane.attempts] == ["message-1", "message-2"]


def test_a_dry_run_says_what_would_be_refused_and_counts_nothing() -> None:
    lane = lane_of(ONE_A_DAY)
    lane.take(note(1, dry_run=True), note(2))
    lane.answer(ACCEPTED, "message-2")
    lane.take(note(3, dry_run=True))
    assert lane.status("message-1") == "rehearsed"
    assert reason_of(lane, "message-3") == "frequency_cap"


def test_a_changed_policy_counts_what_was_remembered() -> None:
    lane = lane_of(TWO_A_DAY)
    lane.take(note(1))
    lane.answer(ACCEPTED, "message-1")
    stricter = rules(frequency_caps=[{"purpose": "marketing", "most": 1, "per_hours": 168}])
    lane.around.policy = replace(lane.policy, contacts=stricter)
    lane.round(2 * DAY)
    assert end_of(lane, note(2, at=lane.now)) == "frequency_cap"
    lane.around.policy = replace(lane.policy, contacts=rules())
    lane.take(note(3, at=lane.now))
    assert lane.attempts[-1][0] == "message-3"


def compacted(lane: HandDriven) -> None:
    """The journal as compaction leaves it: the newest entry of each key."""
    newest = {entry.key: index for index, entry in enumerate(lane.journal)}
    lane.journal = [entry for index, entry in enumerate(lane.journal) if newest[entry.key] == index]


OUTCOMES: list[Outcome] = [
    Accepted("wamid.A"), TIMEOUT, LEASE, NotSent("connect"), NotSent("invalid"),
    refused(131016, 500), refused(131026), refused(130429, 429), refused(131056), refused(132015),
]  # fmt: skip
SPANS = {"marketing": ((2, HOUR), (3, 6 * HOUR)), "transactional": ((2, HOUR),)}
CAPS = [
    {"purpose": purpose, "most": most, "per_hours": span / HOUR}
    for purpose, caps in SPANS.items()
    for most, span in caps
]


@pytest.mark.req("B25")
@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_never_more_effects_in_any_span_than_the_cap_allows(seed: int) -> None:
    """Any order of intake, outcomes, resends, restarts (with or without compaction) and time: per person and purpose no
    span of a cap's length has more messages that had an effect, or may have had one, than it allows."""
    random = Random(seed)
    lane = lane_of({"frequency_caps": CAPS})
    calls: dict[tuple[str, int], float] = {}
    kinds: dict[str, tuple[str, str]] = {}
    gone: set[tuple[str, int]] = set()
    for step in range(80):
        act = random.random()
        if act < 0.45:
            person, category = f"person-{random.randrange(2)}", random.choice(("marketing", "utility", "service"))
            purpose = "marketing" if category == "marketing" else "transactional"
            kinds[f"message-{step}"] = person, purpose
            lane.take(note(step, person_key=person, category=category, at=lane.now, priority=random.choice((1, 2, 3))))
        elif act < 0.75 and lane.under_way:
            message_id, attempt = random.choice(lane.under_way)
            outcome = random.choice(OUTCOMES)
            if not isinstance(outcome, Accepted) and outcome is not TIMEOUT:
                gone.add((message_id, attempt))
            lane.answer(outcome, message_id, attempt)
        elif act < 0.8:
            doubtful = [m.message_id for m in lane.state.messages.values() if m.status in ("in_doubt", "unknown")]
            if doubtful:
                lane.command("resolve_in_doubt", random.choice(doubtful), resolution=random.choice(("resend", "sent")))
        elif act < 0.87:
            if random.random() < 0.5:
                compacted(lane)
            lane.crash()
        else:
            lane.round(random.choice((0.0, 1.0, 61.0, 1200.0, HOUR, 4 * HOUR)))
        for message_id, attempt, _, _ in lane.attempts[len(calls) :]:
            calls[message_id, attempt] = lane.now
    check(calls, gone, kinds)


def check(calls: dict[tuple[str, int], float], gone: set[tuple[str, int]], kinds: dict[str, tuple[str, str]]) -> None:
    latest: dict[str, float] = {}
    for (message_id, attempt), at in calls.items():
        if (message_id, attempt) not in gone:
            latest[message_id] = max(at, latest.get(message_id, 0.0))
    for person_purpose in set(kinds.values()):
        times = sorted(at for message_id, at in latest.items() if kinds[message_id] == person_purpose)
        for most, span in SPANS[person_purpose[1]]:
            for index in range(len(times) - most):
                assert times[index + most] - times[index] >= span


def test_a_whole_and_a_compacted_journal_and_the_living_lane_remember_the_same() -> None:
    lane = lane_of(TWO_A_DAY | ONCE)
    lane.take(*(note(n, person_key=f"person-{n}", marks={"template": MARK}) for n in range(6)))
    outcomes: list[Outcome] = [ACCEPTED, TIMEOUT, refused(131026), refused(131016, 500), LEASE]
    for n, outcome in enumerate(outcomes):
        lane.answer(outcome, f"message-{n}", 1)
    lived = remembered(lane.state.recent)
    assert {each.message_id for each in lived} >= {"message-0", "message-1"}
    assert not {"message-2", "message-3"} & {each.message_id for each in lived}
    lane.crash()
    assert remembered(lane.state.recent) == lived
    compacted(lane)
    lane.crash()
    assert remembered(lane.state.recent) == lived


def remembered(recent: Recent) -> list[Any]:
    return sorted(each for n in range(6) for each in recent.others([f"person-{n}"], ["marketing"], "", HOME))


def test_a_redriven_message_counts_by_the_attempt_that_it_makes_then() -> None:
    lane = lane_of(TWO_A_DAY)
    lane.take(note(1))
    lane.answer(refused(131026), "message-1")
    redriven = note(1, redrive=1)
    lane.now += HOUR
    lane.take(redriven, start=False)
    compacted(lane)
    lane.crash()
    assert len(lane.state.recent) == 0
    lane.round()
    lane.answer(ACCEPTED, "message-1")
    (contact,) = lane.state.recent.others([PERSON], ["marketing"], "", HOME)
    assert (contact.message_id, contact.at) == ("message-1", START + HOUR)


@pytest.mark.req("B25")
@pytest.mark.parametrize("meta_has_it", [True, False])
def test_what_counts_is_kept_of_a_message_that_went_on_and_was_never_called_again(meta_has_it: bool) -> None:
    """Its newest step is of before its first end, and says the opposite."""
    lane = lane_of(ONE_A_DAY)
    fallback = {"plan": [{"phone_number_id": ONE, "form": "template"}], "template": OTHER_TEMPLATE}
    lane.take(note(1, fallback=fallback))
    if meta_has_it:  # of an attempt that its answer refused
        lane.answer(refused(131016, 500), "message-1")
        lane.write(lambda scribe: take_echo(scribe, lane.around, "message-1", 1, "wamid.A", ONE, lane.now, 131053))
    else:
        lane.write(lambda scribe: settle(scribe, lane.around, "message-1", 1, refused(131053)))
    lane.command("cancel_message", "message-1")
    assert (lane.steps("message-1")[-1], len(lane.attempts)) == ("cancelled", 1)
    lived = len(lane.state.recent)
    compacted(lane)
    lane.crash()
    assert len(lane.state.recent) == lived == int(meta_has_it)
    assert (end_of(lane, note(2, at=lane.now)) == "frequency_cap") is meta_has_it


def test_a_fallback_content_is_no_second_contact_and_is_known_again_by_its_own_words() -> None:
    lane = lane_of(TWO_A_DAY | ONCE)
    plan = [{"phone_number_id": ONE, "form": "template"}]
    fallback = {"plan": plan, "template": OTHER_TEMPLATE, "if_undeliverable": True}
    lane.take(note(1, fallback=fallback, marks={"template": MARK, "fallback": OTHER_MARK}))
    lane.answer(ACCEPTED, "message-1")
    lane.write(lambda scribe: take_echo(scribe, lane.around, "message-1", 1, "wamid.A", ONE, lane.now, 131026))
    compacted(lane)
    lane.crash()
    lane.round(1.0)
    assert [each[:2] for each in lane.attempts] == [("message-1", 1), ("message-1", 2)]
    lane.answer(ACCEPTED, "message-1")
    compacted(lane)
    lane.crash()
    lane.take(note(2, marks={"template": OTHER_MARK}), note(3, marks={"template": "0" * 16}))
    assert reason_of(lane, "message-2") == "duplicate_content"
    lane.answer(ACCEPTED, "message-3")
    assert end_of(lane, note(4)) == "frequency_cap"


@pytest.mark.parametrize("redriven", [False, True])
def test_a_refused_attempt_that_meta_has_after_all_counts(redriven: bool) -> None:
    lane = lane_of(ONE_A_DAY)
    lane.take(note(1))
    lane.answer(refused(131026) if redriven else refused(131016, 500), "message-1")
    assert len(lane.state.recent) == 0
    if redriven:
        lane.take(note(1, redrive=1), start=False)
    lane.echo("message-1", 1)
    assert lane.status("message-1") == "submitted" and len(lane.attempts) == 1
    lane.crash()
    assert end_of(lane, note(2)) == "frequency_cap"


def test_journals_of_before_are_read() -> None:
    lane = lane_of({})
    lane.take(note(1))
    lane.answer(ACCEPTED, "message-1")
    assert all("contact" not in (entry.data or {}) for entry in lane.journal)
    lane.around.policy = replace(lane.policy, contacts=rules(**TWO_A_DAY))
    lane.crash()
    assert not lane.state.recent
    lane.take(note(2), note(3), note(4))
    for n in (2, 3):
        lane.answer(ACCEPTED, f"message-{n}")
    assert reason_of(lane, "message-4") == "frequency_cap"


def test_contacts_are_forgotten_with_their_day_and_in_parts() -> None:
    recent = Recent()
    for n in range(1000):
        recent.put(f"{n:032x}", "marketing", f"message-{n}", [Attempt(1, START, MARK)], START)
    assert len(recent) == 1000
    recent.forget_old(START + 7 * DAY, 500)
    assert len(recent) == 1000
    recent.forget_old(START + 8 * DAY, 400)
    assert len(recent) == 600
    recent.forget_old(START + 8 * DAY, 10_000)
    assert not recent


def test_a_contact_takes_no_more_than_the_memory_of_an_ended_message() -> None:
    count = 20_000
    tracemalloc.start()
    try:
        recent = Recent()
        for n in range(count):
            at = START + 7 * DAY * n / count
            recent.put(f"{n * 7919:032x}", "marketing", f"{n:032x}", [Attempt(1, at, MARK)], at)
        assert tracemalloc.get_traced_memory()[0] / count <= 200.0
    finally:
        tracemalloc.stop()


def test_of_one_day_and_person_only_the_newest_are_kept() -> None:
    recent = Recent()
    for n in range(MOST_A_DAY + 50):
        recent.put(PERSON, "utility", f"message-{n}", [Attempt(1, START + n)], START + n)
    kept = [each.at for each in recent.others([PERSON], ["utility"], "")]
    assert sorted(kept) == [START + 50 + n for n in range(MOST_A_DAY)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a" * 32, "person"]),
            st.sampled_from(["marketing", "utility"]),
            st.sampled_from(["message-1", "message-11", "m" * 64]),
            st.lists(st.tuples(st.integers(1, 9), st.floats(1e9, 2e9), st.sampled_from(["", MARK])), max_size=3),
            st.integers(0, 3),
        ),
        max_size=30,
    )
)
def test_recent_is_a_table_of_attempts(rows: list[tuple[Any, ...]]) -> None:
    recent, wanted = Recent(), dict[tuple[str, Category, str], list[Attempt]]()
    for person, category, message_id, attempts, day in rows:
        put = [Attempt(*each) for each in attempts]
        recent.put(person, category, message_id, put, START + day * DAY)
        wanted[person, category, message_id] = put
    for (person, category, message_id), put in wanted.items():
        assert recent.attempts(person, category, message_id) == sorted(put)
    assert len(recent) == sum(map(len, wanted.values()))


def test_a_person_of_two_names_is_one_person() -> None:
    lane = lane_of(ONE_A_DAY)
    lane.take(note(1, also_key="e" * 32))
    lane.answer(ACCEPTED, "message-1")
    lane.crash()
    assert end_of(lane, note(2, person_key="e" * 32)) == "frequency_cap"
