"""Words in a few bytes: of each what decides is kept, and who moves on takes along what was said until then."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from harkara.contracts.consent import ConsentState, Heard, Purpose, PurposeConsent, Standing
from harkara.contracts.event import epoch_ms
from harkara.policy.words import both_packed, kept_words, pack_alone, pack_state, pack_words, unpack_words
from tests.unit.policy.cases import NOW, PERSON

HOUR = timedelta(hours=1)


def word(standing: Standing, at: datetime, until: datetime | None = None) -> PurposeConsent:
    return PurposeConsent(standing=standing, at=at, event_id="", until=until)


ALL = Heard(
    word=word("opted_in", NOW - 7 * HOUR),
    at_meta=word("opted_out", NOW - 6 * HOUR),
    pause=word("paused", NOW - 5 * HOUR, NOW + HOUR),
    block=word("blocked", NOW - 4 * HOUR),
    resumed_at=NOW - 3 * HOUR,
    revoked_until=NOW - 2 * HOUR,
    erased_at=NOW - HOUR,
    returned_at=NOW,
)
SLOTS = ("word", "at_meta", "pause", "block", "resumed_at", "revoked_until", "erased_at", "returned_at")


def both(marketing: Heard, transactional: Heard) -> dict[Purpose, Heard]:
    return {"marketing": marketing, "transactional": transactional}


@pytest.mark.parametrize("slot", SLOTS)
def test_each_word_comes_back_as_it_was(slot: str) -> None:
    alone = Heard.model_validate({slot: getattr(ALL, slot)})
    for words in (both(alone, alone), both(alone, ALL), both(ALL, alone), both(ALL, ALL), both(Heard(), alone)):
        assert unpack_words(pack_words(words)) == words
    assert len(pack_words(both(alone, alone))) <= 20


@pytest.mark.req("B17")
@pytest.mark.parametrize(("place", "slot"), list(enumerate(SLOTS)))
def test_who_moves_on_takes_along_what_was_said_until_then_and_nothing_later(place: int, slot: str) -> None:
    """The words of ALL are an hour apart: of those from this one on, this one is the last that was said in time."""
    said = epoch_ms(NOW - (7 - place) * HOUR)
    for until_ms, count in ((said - 1, place), (said, place + 1)):
        kept = kept_words(both(ALL, Heard()), until_ms)
        assert kept["marketing"] == Heard.model_validate({each: getattr(ALL, each) for each in SLOTS[:count]}), slot
        assert kept["transactional"] == Heard()


STATES: list[dict[str, Any]] = [
    {},
    {"marketing": word("opted_in", NOW)},
    {"marketing": word("opted_out", NOW), "transactional": word("opted_out", NOW)},
    {"marketing": word("blocked", NOW), "transactional": word("opted_in", NOW - HOUR)},
    {"transactional": word("paused", NOW, NOW + HOUR)},
]


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_packed_as_its_words_are(state: dict[str, Any]) -> None:
    """Whatever way is taken for who said one thing alone."""
    made = ConsentState(person_key=PERSON, **state)
    words = both(made.words("marketing"), made.words("transactional"))
    packed, age = pack_state(made)
    assert packed == pack_words(words)
    instants = [
        at
        for heard in words.values()
        for slot in SLOTS
        if (value := getattr(heard, slot)) is not None
        for at in [value.at if isinstance(value, PurposeConsent) else value]
    ]
    assert age == sum(epoch_ms(at) for at in instants)


def test_a_language_makes_a_state_younger() -> None:
    said = ConsentState(person_key=PERSON, marketing=word("opted_in", NOW))
    packed, age = pack_state(said)
    with_language = said.model_copy(update={"language": "hi", "language_at": NOW})
    assert pack_state(with_language) == (packed, age + epoch_ms(NOW))


def test_what_is_the_same_for_every_purpose_is_kept_once() -> None:
    one, _ = pack_alone("opted_out", "keyword", epoch_ms(NOW))
    other, _ = pack_alone("opted_in", "keyword", epoch_ms(NOW))
    assert len(both_packed(one, one)) == 1 + len(one)
    assert unpack_words(both_packed(one, other))["transactional"].shown() == word("opted_in", NOW)
    assert unpack_words(both_packed(other, b""))["transactional"] == Heard()
