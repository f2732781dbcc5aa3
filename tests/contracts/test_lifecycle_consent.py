"""The consent join: the latest word wins, whatever the order of arrival."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.contracts.consent import ConsentEvent, ConsentRequest, ConsentState, advance_consent

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
PERSON = "0123456789abcdef0123456789abcdef"


@st.composite
def words(draw: st.DrawFn) -> ConsentEvent:
    standing = draw(st.sampled_from(["opted_in", "opted_out", "paused", "resumed", "blocked", "erased"]))
    cancels = draw(st.sampled_from([None, AT, AT + timedelta(seconds=9)]))
    number = draw(st.integers(0, 20))
    return ConsentEvent.model_validate(
        {
            "event_id": f"e{number}",
            "person_key": PERSON,
            "standing": standing,
            "purpose": draw(st.sampled_from([None, "marketing", "transactional"])),
            "source": draw(st.sampled_from(["keyword", "api", "kafka", "meta_preference", "meta_error", "operator"])),
            "at": AT + timedelta(seconds=draw(st.integers(0, 3))),
            "until": draw(st.sampled_from([None, AT + timedelta(days=1)])) if standing == "paused" else None,
            "cancels_until": cancels if standing == "opted_out" else None,
            "language": draw(st.sampled_from([None, "hi", "pt_BR"])),
        }
    )


def folded(seen: list[ConsentEvent]) -> ConsentState:
    state: ConsentState | None = None
    for each in seen:
        state = advance_consent(state, each)
    assert state is not None
    return state


def unambiguous(seen: list[ConsentEvent]) -> list[ConsentEvent]:
    """One event per id, as ids are deterministic."""
    return list({each.event_id: each for each in seen}.values())


@pytest.mark.req("CMP-2")
@settings(max_examples=300, deadline=None)
@given(st.lists(words(), min_size=1, max_size=9).map(unambiguous), st.randoms(use_true_random=False), st.data())
def test_every_permutation_and_repetition_converges(
    seen: list[ConsentEvent], chance: random.Random, data: st.DataObject
) -> None:
    repeated = seen + data.draw(st.lists(st.sampled_from(seen), max_size=5))
    chance.shuffle(repeated)
    assert folded(repeated) == folded(seen)


def word(standing: str, seconds: float = 0, **more: Any) -> ConsentEvent:
    fields = {"event_id": f"e-{standing}", "person_key": PERSON, "standing": standing, "source": "keyword"}
    return ConsentEvent.model_validate(fields | {"at": AT + timedelta(seconds=seconds)} | more)


@pytest.mark.parametrize(
    ("seen", "denied"),
    [
        ([word("opted_in"), word("opted_out", 1)], "opted_out"),
        ([word("opted_in", 2), word("opted_out", 1)], None),
        ([word("opted_in", 1), word("opted_out", 1)], "opted_out"),
        ([word("opted_out", 1), word("blocked", 1)], "blocked"),
        ([word("paused", 1, until=AT + timedelta(hours=1))], "paused"),
        ([word("paused", 1, until=AT - timedelta(hours=1))], None),
        ([word("opted_out", 1, purpose="marketing")], "opted_out"),
        ([word("opted_out", 1, purpose="transactional")], None),
    ],
)
def test_who_may_not_be_written_to_for_marketing(seen: list[ConsentEvent], denied: str | None) -> None:
    for order in (seen, seen[::-1]):
        assert folded(order).denies("marketing", AT) == denied


DAY = timedelta(days=1)


@pytest.mark.req("CMP-4", "CMP-6")
@pytest.mark.parametrize(
    ("said", "marketing"),
    [
        # a pause is no way out of an opt-out, and its end is no opt-in
        ([word("opted_out", 0), word("paused", 1, until=AT + DAY)], "opted_out"),
        ([word("opted_out", 0), word("paused", 1), word("resumed", 2)], "opted_out"),
        ([word("paused", 1), word("resumed", 2)], None),
        ([word("paused", 1), word("resumed", 1)], "paused"),
        ([word("paused", 2), word("resumed", 1)], "paused"),
        ([word("paused", 1), word("opted_in", 2)], None),
        # a block is ended by an operator's opt-in alone, whatever is said before or after
        ([word("blocked", 1, source="operator"), word("opted_in", 2)], "blocked"),
        ([word("blocked", 1, source="operator"), word("opted_in", 0)], "blocked"),
        ([word("blocked", 1, source="operator"), word("opted_in", 2, source="kafka")], "blocked"),
        ([word("blocked", 1, source="operator"), word("opted_out", 2, source="api")], "blocked"),
        ([word("blocked", 1, source="operator"), word("opted_in", 2, source="operator")], None),
        ([word("blocked", 1), word("opted_in", 2, source="api"), word("opted_out", 3)], "opted_out"),
        # what is told to WhatsApp: a stop counts, a resume takes back that stop and no other
        ([word("opted_out", 1, source="meta_preference", purpose="marketing")], "opted_out"),
        ([word("opted_out", 1, source="meta_error", purpose="marketing"),
          word("opted_in", 2, source="meta_preference", purpose="marketing")], None),
        ([word("opted_out", 1), word("opted_in", 2, source="meta_preference", purpose="marketing")], "opted_out"),
        ([word("opted_out", 1, source="meta_preference", purpose="marketing"), word("opted_in", 2)], None),
        ([word("opted_in", 1), word("opted_out", 2, source="meta_preference", purpose="marketing")], "opted_out"),
    ],
)  # fmt: skip
def test_what_holds_after_all_was_said_in_any_order(said: list[ConsentEvent], marketing: str | None) -> None:
    said = [each.model_copy(update={"event_id": f"e{number}"}) for number, each in enumerate(said)]
    for order in permutations(said):
        assert folded([*order, *order]).denies("marketing", AT) == marketing


ERASED = word("erased", 2, source="operator")


@pytest.mark.req("CMP-12")
@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ([word("opted_in", 1, source="api"), ERASED], "erased"),
        ([word("opted_in", 1), word("opted_out", 1, source="meta_error"), ERASED], "erased"),
        ([word("blocked", 1, source="operator"), ERASED], "erased"),
        # nobody but themselves, an operator or the API with its proof brings a person back
        ([ERASED, word("opted_in", 3)], None),
        ([ERASED, word("opted_in", 3, source="api")], None),
        ([ERASED, word("opted_in", 3, source="operator")], None),
        ([ERASED, word("opted_in", 3, source="kafka")], "erased"),
        ([ERASED, word("opted_in", 3, source="import")], "erased"),
        ([ERASED, word("opted_in", 3, source="meta_preference")], "erased"),
        ([ERASED, word("opted_in", 3, source="identity")], "erased"),
        ([ERASED, word("resumed", 3)], "erased"),
        ([ERASED, word("opted_in", 2)], "erased"),
        ([ERASED, word("opted_in", 3), word("erased", 4, source="operator")], "erased"),
        ([ERASED, word("opted_in", 3), word("opted_out", 4)], "opted_out"),
        ([ERASED, word("opted_in", 3), word("opted_out", 4), word("opted_in", 5, source="kafka")], None),
        ([ERASED, word("blocked", 3, source="operator"), word("opted_in", 4)], "blocked"),
    ],
)  # fmt: skip
def test_who_was_erased_is_not_written_to_until_they_come_back(said: list[ConsentEvent], holds: str | None) -> None:
    said = [each.model_copy(update={"event_id": f"e{number}"}) for number, each in enumerate(said)]
    for order in permutations(said):
        state = folded([*order, *order])
        assert (state.denies("marketing", AT), state.denies("transactional", AT)) == (holds, holds)
        assert state.revoked("transactional", AT + timedelta(seconds=2))


@pytest.mark.req("CMP-12")
def test_an_erasure_leaves_of_a_person_that_and_when_they_were_erased() -> None:
    said = [
        word("opted_in", 0, source="api", language="hi", purpose="marketing"),
        word("opted_out", 1, source="meta_preference", purpose="marketing"),
        word("paused", 1, until=AT + DAY), word("resumed", 1), word("blocked", 1),
        word("opted_in", 1, language="pt_BR"),
    ]  # fmt: skip
    alone = folded([ERASED])
    for order in permutations([*said, ERASED]):
        assert folded(list(order)) == alone
    bare = {"standing": "erased", "at": "2026-11-21T00:30:02Z", "event_id": "", "source": ""}
    assert alone.model_dump(mode="json", exclude_none=True) == {
        "person_key": PERSON, "marketing": bare, "transactional": bare, "heard": {},
    }  # fmt: skip


@pytest.mark.req("CMP-2")
def test_what_was_accepted_before_an_opt_out_stays_cancelled_after_the_next_opt_in() -> None:
    said = [
        word("opted_out", 1, cancels_until=AT + timedelta(seconds=2), purpose="marketing"),
        word("opted_in", 3),
        word("paused", 4),
    ]
    for order in permutations(said):
        state = folded(list(order))
        assert state.revoked("marketing", AT + timedelta(seconds=2))
        assert not state.revoked("marketing", AT + timedelta(seconds=2, milliseconds=1))
        assert not state.revoked("transactional", AT)


def test_a_block_cancels_as_an_opt_out_does_and_at_one_instant_the_stricter_word_wins() -> None:
    blocked = folded([word("blocked", 1, source="operator"), word("opted_in", 2, source="operator")])
    assert blocked.denies("marketing", AT) is None and blocked.revoked("marketing", AT + timedelta(seconds=1))
    said = [word("opted_out", 1, event_id="a"), word("opted_in", 1, event_id="z")]
    for order in permutations(said):
        assert folded(list(order)).denies("marketing", AT) == "opted_out"


def test_a_pause_that_ends_gives_back_what_held_before() -> None:
    state = folded([word("opted_in", 0), word("paused", 1, until=AT + DAY)])
    assert state.denies("marketing", AT + timedelta(hours=23)) == "paused"
    assert state.denies("marketing", AT + DAY) is None
    opted = state.words("marketing").opted()
    assert opted is not None and opted.standing == "opted_in"


def test_a_record_without_what_was_heard_counts_as_its_word() -> None:
    """As older writers wrote them: the history is gone on with from there."""
    old = ConsentState.model_validate(folded([word("opted_out", 5)]).model_dump(exclude={"heard"}))
    assert old.denies("marketing", AT) == "opted_out" and old.revoked("marketing", AT)
    later = advance_consent(old, word("paused", 9))
    assert later.denies("marketing", AT) == "opted_out"
    assert advance_consent(old, word("opted_in", 9)).denies("marketing", AT) is None


def test_the_newest_event_that_names_a_language_is_believed() -> None:
    said = [
        word("opted_in", 0, event_id="a", language="hi"),
        word("paused", 1, event_id="b", language="mr"),
        word("resumed", 2, event_id="c"),
    ]
    assert {folded(list(order)).language for order in permutations(said)} == {"mr"}


REQUEST: dict[str, Any] = {
    "request_id": "crm-000417",
    "phone": "+919999930011",
    "standing": "opted_in",
    "purpose": "marketing",
    "at": AT,
    "origin": "web-form",
    "proof": "form-417",
    "language": "mr",
}


@pytest.mark.req("CMP-4")
@pytest.mark.parametrize("field", ["purpose", "at", "origin", "proof", "language"])
def test_an_opt_in_is_recorded_whole_or_not_at_all(field: str) -> None:
    assert ConsentRequest.model_validate(REQUEST).standing == "opted_in"
    without = {name: value for name, value in REQUEST.items() if name != field}
    with pytest.raises(ValueError, match=field):
        ConsentRequest.model_validate(without)
    assert ConsentRequest.model_validate(without | {"standing": "opted_out"}).standing == "opted_out"


def test_a_block_is_no_upstream_systems_to_write_and_an_end_belongs_to_a_pause() -> None:
    with pytest.raises(ValueError, match="standing"):
        ConsentRequest.model_validate(REQUEST | {"standing": "blocked"})
    with pytest.raises(ValueError, match="until"):
        ConsentRequest.model_validate(REQUEST | {"until": AT})
