"""Everyone's consent, packed: what is read off a row is what the state says, whoever said it and whatever was heard."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest

from harkara.contracts.consent import (
    PURPOSES,
    Change,
    ConsentEvent,
    ConsentState,
    Heard,
    PurposeConsent,
    Source,
    Standing,
    advance_consent,
)
from harkara.contracts.event import epoch_ms
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import CONSENT_STATE, PERSON_IDENTITIES
from harkara.policy import standings as module
from harkara.policy.clearance import Word, restricted, word_of
from harkara.policy.standings import Standings
from harkara.policy.words import pack_state, pack_words, unpack_words
from tests.unit.policy.cases import NOW, PERSON

KOLKATA = timezone(timedelta(hours=5, minutes=30))


def said_alone() -> Iterator[ConsentState]:
    """One word a purpose, of every standing by every way, with and without an end."""
    for standing, source in itertools.product(get_args(Standing), get_args(Source)):
        for until in (None, NOW + timedelta(days=2, microseconds=7)):
            word = PurposeConsent(standing=standing, at=NOW, event_id="e", until=until, source=source)
            later = word.model_copy(update={"at": NOW.astimezone(KOLKATA) + timedelta(hours=1)})
            yield ConsentState(person_key=PERSON, marketing=word)
            yield ConsentState(person_key=PERSON, transactional=word, language="hi", language_at=NOW)
            yield ConsentState(person_key=PERSON, marketing=word, transactional=later)


def said_often(seed: int) -> ConsentState:
    chance, state = random.Random(seed), ConsentState(person_key=PERSON)
    for number in range(chance.randrange(1, 6)):
        event = ConsentEvent(
            event_id=f"e{number}",
            person_key=PERSON,
            standing=chance.choice(get_args(Change)),
            purpose=chance.choice([None, *PURPOSES]),
            source=chance.choice(get_args(Source)),
            at=NOW - timedelta(minutes=chance.randrange(10_000)),
            until=NOW + timedelta(days=chance.randrange(-3, 3)),
            language=chance.choice([None, "hi", "en"]),
        )
        state = advance_consent(state, event)
    return state


STATES = [ConsentState(person_key=PERSON), *said_alone(), *(said_often(seed) for seed in range(200))]


def age(state: ConsentState) -> int:
    """Every instant of every word, and the language's."""
    found = [state.language_at]
    for heard in (state.words(purpose) for purpose in PURPOSES):
        found += [heard.resumed_at, heard.revoked_until]
        found += [word.at for word in (heard.word, heard.at_meta, heard.pause, heard.block) if word is not None]
    return sum(epoch_ms(at) for at in found if at is not None)


def test_a_state_is_packed_as_all_its_words_are() -> None:
    for state in STATES:
        assert pack_state(state) == (pack_words({purpose: state.words(purpose) for purpose in PURPOSES}), age(state))


def test_packed_words_are_the_words_again_to_the_millisecond() -> None:
    for state in STATES:
        for purpose, heard in unpack_words(pack_state(state)[0]).items():
            assert heard == _plain(state.words(purpose))


def _plain(heard: Heard) -> Heard:
    def at(moment: datetime | None) -> datetime | None:
        return None if moment is None else datetime.fromtimestamp(epoch_ms(moment) / 1000, UTC)

    changed: dict[str, object] = {}
    for slot in ("word", "at_meta", "pause", "block"):
        word = getattr(heard, slot)
        if word is not None:
            shown = {"at": at(word.at), "until": at(word.until), "event_id": "", "source": ""}
            changed[slot] = word.model_copy(update=shown)
    changed |= {slot: at(getattr(heard, slot)) for slot in ("resumed_at", "revoked_until")}
    return heard.model_copy(update=changed)


@pytest.mark.parametrize("shared", [10_000, 2])
def test_what_holds_is_what_the_state_says(shared: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no more is shared: then each person has their own. An end is kept to the microsecond."""
    monkeypatch.setattr(module, "MOST_SHARED", shared)
    standings = Standings()
    for number, state in enumerate(STATES):
        standings.apply(CONSENT_STATE, f"{number:032x}", state)
    assert len(standings) == len(STATES)
    for number, state in enumerate(STATES):
        said = standings.said(f"{number:032x}")
        assert said == (word_of(state, "marketing"), word_of(state, "transactional"), state.language)


def test_an_older_state_is_passed_over_and_a_tombstone_forgets() -> None:
    standings, paused = Standings(), NOW + timedelta(days=3)
    first = ConsentState(
        person_key=PERSON, marketing=PurposeConsent(standing="paused", at=NOW, event_id="a", until=paused)
    )
    newer = ConsentState(
        person_key=PERSON, marketing=PurposeConsent(standing="opted_in", at=NOW + timedelta(seconds=1), event_id="b")
    )
    for state in (first, newer, first):
        standings.apply(CONSENT_STATE, PERSON, state)
    word = standings.word(PERSON, "marketing")
    assert word is not None and (word.standing, word.until) == ("opted_in", None)
    standings.apply(CONSENT_STATE, PERSON, None)
    assert standings.said(PERSON) is None and len(standings) == 0
    standings.apply(CONSENT_STATE, PERSON, first)
    word = standings.word(PERSON, "marketing")
    assert word is not None and word.until == paused


LATER, LATEST = NOW + timedelta(days=1), NOW + timedelta(days=2)
IN, OUT, BLOCKED = Word("opted_in"), Word("opted_out"), Word("blocked")


@pytest.mark.req("CMP-4", "B17")
@pytest.mark.parametrize(
    ("word", "other", "holds"),
    [
        (None, None, None),
        (None, IN, None),
        (None, OUT, OUT),
        (None, Word("paused", LATER, "opted_in"), Word("paused", LATER)),
        (IN, None, IN),
        (IN, OUT, OUT),
        (IN, BLOCKED, BLOCKED),
        (IN, Word("paused", LATER), Word("paused", LATER, "opted_in")),
        (IN, Word("paused", LATER, "opted_out"), Word("paused", LATER, "opted_out")),
        (OUT, IN, OUT),
        (OUT, Word("paused", LATER), OUT),
        (OUT, BLOCKED, BLOCKED),
        (BLOCKED, OUT, BLOCKED),
        (Word("paused", LATER, "opted_in"), IN, Word("paused", LATER, "opted_in")),
        (Word("paused", LATER, "opted_in"), Word("paused", LATEST), Word("paused", LATEST, "opted_in")),
        (Word("paused", LATER), Word("paused", None, "opted_in"), Word("paused", None)),
        (Word("paused", LATEST, "opted_in"), Word("paused", LATER, "opted_out"), Word("paused", LATEST, "opted_out")),
    ],
)
def test_a_name_that_only_the_intent_gives_can_forbid_and_never_permit(
    word: Word | None, other: Word | None, holds: Word | None
) -> None:
    assert restricted(word, other) == holds


@pytest.mark.req("CMP-4", "B17")
def test_an_opt_in_counts_under_another_name_once_the_two_are_linked() -> None:
    standings, other = Standings(), "e" * 32
    opted_in = PurposeConsent(standing="opted_in", at=NOW, event_id="e", source="api")
    standings.apply(CONSENT_STATE, other, ConsentState(person_key=other, transactional=opted_in))
    assert standings.word(PERSON, "transactional", other) is None
    link = PersonAlias(person_key=PERSON, alias_key=other, kind="user_id", at=NOW)
    standings.apply(PERSON_IDENTITIES, f"{PERSON}/{other}", link)
    assert standings.word(PERSON, "transactional", other) == Word("opted_in")
    assert standings.word(PERSON, "transactional") == Word("opted_in")
