"""Everyone's consent, packed: what is read off a row is what the state says, whoever said it and whatever was heard."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

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
from harkara.contracts.event import epoch_ms, event_id
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import CONSENT_STATE, PERSON_IDENTITIES
from harkara.policy.aliases import FOREVER_MS
from harkara.policy.clearance import Word, restricted, word_of
from harkara.policy.standings import MOST_SHARED, Standings
from harkara.policy.words import pack_state, pack_words, unpack_words
from tests.unit.policy.cases import NOW, PERSON

AGES = timedelta(days=3650)
INSTANTS = ("resumed_at", "revoked_until", "erased_at", "returned_at")
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


def any_word(chance: random.Random, number: int, at: datetime, **more: Any) -> ConsentEvent:
    """Whatever may be said, by whatever way, for one purpose or all."""
    return ConsentEvent(
        event_id=f"e{number}",
        person_key=PERSON,
        standing=chance.choice(get_args(Change)),
        purpose=chance.choice([None, *PURPOSES]),
        source=chance.choice(get_args(Source)),
        at=at,
        **more,
    )


def said_often(seed: int) -> ConsentState:
    chance, state = random.Random(seed), ConsentState(person_key=PERSON)
    for number in range(chance.randrange(1, 6)):
        at, until = NOW - timedelta(minutes=chance.randrange(10_000)), NOW + timedelta(days=chance.randrange(-3, 3))
        event = any_word(chance, number, at, until=until, language=chance.choice([None, "hi", "en"]))
        state = advance_consent(state, event)
    return state


STATES = [ConsentState(person_key=PERSON), *said_alone(), *(said_often(seed) for seed in range(200))]


def age(state: ConsentState) -> int:
    """Every instant of every word, and the language's; what an erasure took counts as said at the erasure."""
    found = [state.language_at or state.words("marketing").erased_at]
    for heard in (state.words(purpose) for purpose in PURPOSES):
        own = [heard.resumed_at, heard.revoked_until, heard.erased_at, heard.returned_at]
        own += [None if word is None else word.at for word in (heard.word, heard.at_meta, heard.pause, heard.block)]
        found += [at if heard.erased_at is None else max(at or NOW - AGES, heard.erased_at) for at in own]
    return sum(epoch_ms(at) for at in found if at is not None)


@pytest.mark.req("CMP-12")
def test_a_state_is_older_than_what_comes_of_it_also_where_an_erasure_takes_words_out_of_it() -> None:
    """Or a replica would take the erased state for an outdated one and go on with the words of before."""
    for seed in range(300):
        chance, state, held = random.Random(seed), None, -1
        for number in range(7):
            at = NOW + timedelta(seconds=chance.randrange(5))
            state = advance_consent(state, any_word(chance, number, at, language=chance.choice([None, "hi"])))
            packed_age = pack_state(state)[1]
            assert packed_age >= held, f"seed {seed}"
            held = packed_age


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
    changed |= {slot: at(getattr(heard, slot)) for slot in INSTANTS}
    return heard.model_copy(update=changed)


@pytest.mark.parametrize("most_shared", [MOST_SHARED, 2])
def test_what_holds_is_what_the_state_says(most_shared: int) -> None:
    """Also where no more is shared: then each person has their own. An end is kept to the microsecond."""
    standings = Standings(most_shared=most_shared)
    for number, state in enumerate(STATES):
        standings.apply(CONSENT_STATE, f"{number:032x}", state)
    assert len(standings) == len(STATES) and 0 < len(standings._shared) <= most_shared
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


def row(state: ConsentState, key: str = PERSON) -> bytes:
    """As the projection writes it."""
    fields = state.model_copy(update={"person_key": key}).model_dump(mode="json", exclude_none=True)
    return json.dumps(fields | {"version": 1}, separators=(",", ":")).encode()


def identified(state: ConsentState, number: int) -> ConsentState:
    """With ids as they are in life, and times in UTC."""

    def lived(word: PurposeConsent | None) -> PurposeConsent | None:
        update = None if word is None else {"event_id": event_id(number), "at": word.at.astimezone(UTC)}
        return None if word is None else word.model_copy(update=update)

    return state.model_copy(update={"marketing": lived(state.marketing), "transactional": lived(state.transactional)})


def test_what_is_taken_as_bytes_is_what_is_decoded() -> None:
    """The first of a shape teaches, the second is taken by it: both give the rows that decoding gives."""
    decoded, taken, by_bytes = Standings(), Standings(), 0
    for number, state in enumerate([*STATES, *STATES]):
        key = f"{number:032x}"
        known = identified(state, number)
        decoded.apply(CONSENT_STATE, key, known)
        if taken.take(CONSENT_STATE, key.encode(), row(known, key)):
            by_bytes += 1
        else:
            taken.apply(CONSENT_STATE, key, known)
    names = [f"{number:032x}" for number in range(2 * len(STATES))]
    assert [taken._persons.get(bytes.fromhex(each)) is None for each in names] == [False] * len(names)
    for name in names:
        assert taken.said(name) == decoded.said(name)
        assert taken.words(name, FOREVER_MS) == decoded.words(name, FOREVER_MS)
        held, same = taken._persons.get(bytes.fromhex(name)), decoded._persons.get(bytes.fromhex(name))
        assert held is not None and same is not None and held[4:] == same[4:], "age and words"
    assert by_bytes > len(STATES) / 2


def one_word(at: datetime, standing: Standing = "opted_in") -> ConsentState:
    word = PurposeConsent(standing=standing, at=at, event_id=event_id(at), source="api")
    return ConsentState(person_key=PERSON, marketing=word, transactional=word)


@pytest.mark.parametrize("seed", range(5))
def test_bytes_and_decoded_records_in_any_order_leave_the_newest(seed: int) -> None:
    chance, standings = random.Random(seed), Standings()
    assert standings.take(CONSENT_STATE, PERSON.encode(), row(one_word(NOW)))
    states = [one_word(NOW + timedelta(minutes=n)) for n in range(1, 9)]
    for state in chance.sample(states, len(states)):
        if chance.random() < 0.5:
            assert standings.take(CONSENT_STATE, PERSON.encode(), row(state))
        else:
            standings.apply(CONSENT_STATE, PERSON, state)
    said = standings.words(PERSON, FOREVER_MS)["marketing"].word
    assert said is not None and said.at == NOW + timedelta(minutes=8) and len(standings) == 1
    standings.apply(CONSENT_STATE, PERSON, None)
    assert standings.said(PERSON) is None


def test_a_pause_with_an_end_gives_way_to_bytes() -> None:
    standings = Standings()
    word = PurposeConsent(standing="paused", at=NOW, event_id="e", until=NOW + timedelta(days=1))
    standings.apply(CONSENT_STATE, PERSON, ConsentState(person_key=PERSON, marketing=word, transactional=word))
    assert standings._own and not standings._shared, "an end is each person's own"
    assert standings.take(CONSENT_STATE, PERSON.encode(), row(one_word(NOW + timedelta(hours=1))))
    assert standings.word(PERSON, "marketing") == Word("opted_in") and not standings._own


def test_who_says_the_same_shares_what_holds() -> None:
    standings = Standings()
    for number in range(20):
        key = event_id("person", number)
        state = one_word(NOW + timedelta(minutes=number))
        if number % 2:
            standings.apply(CONSENT_STATE, key, state)
        else:
            assert standings.take(CONSENT_STATE, key.encode(), row(state, key))
    assert len(standings) == 20 and len(standings._shared) == 1 and not standings._own


def test_a_link_is_taken_as_bytes() -> None:
    standings, other = Standings(with_owners=True), "e" * 32
    link = PersonAlias(person_key=PERSON, alias_key=other, kind="user_id", at=NOW)
    assert standings.names(PERSON) == ()
    assert standings.take(PERSON_IDENTITIES, b"any key", link.model_dump_json().encode())
    assert standings.names(PERSON) == (other,) and standings.names(other) == (PERSON,)
    assert standings.aliases.owners(other) == [(PERSON, FOREVER_MS)]


def test_the_language_has_a_time_of_its_own() -> None:
    standings = Standings()
    state = one_word(NOW).model_copy(update={"language": "hi", "language_at": NOW - timedelta(days=1)})
    assert standings.take(CONSENT_STATE, PERSON.encode(), row(state))
    unlikely = row(state).replace(b'language_at":"2026', b'language_at":"1999')
    assert unlikely != row(state) and not standings.take(CONSENT_STATE, PERSON.encode(), unlikely)
    later = state.model_copy(update={"language_at": NOW})
    assert standings.take(CONSENT_STATE, PERSON.encode(), row(later))
    said, held = standings.said(PERSON), standings._persons.get(bytes.fromhex(PERSON))
    assert said is not None and said.language == "hi"
    assert held is not None and int.from_bytes(held[4:12], "big") == age(later)


@pytest.mark.parametrize(
    "text",
    [
        row(one_word(NOW)).replace(b"opted_in", b"opted_up"),
        row(one_word(NOW)).replace(b'"at"', b'"am"'),
        row(one_word(NOW))[:-1] + b"]",
        row(one_word(NOW)).replace(b"2026-", b"1999-"),
        row(one_word(NOW)).replace(b"2026-", b"2201-"),
        row(one_word(NOW)).replace(b":1}", b':1,"note":"\\""}'),
        b"[]",
        b"",
    ],
)
def test_what_is_no_state_is_left_to_the_decoder(text: bytes) -> None:
    standings = Standings()
    for _ in range(2):
        assert not standings.take(CONSENT_STATE, PERSON.encode(), text) and len(standings) == 0
        assert standings.take(CONSENT_STATE, PERSON.encode(), row(one_word(NOW)))
        standings.apply(CONSENT_STATE, PERSON, None)


def test_what_does_not_say_the_same_at_other_times_is_decoded_each_time() -> None:
    often = [state for state in STATES if state.heard or (state.marketing and state.marketing.until)]
    standings = Standings()
    assert often and not any(standings.take(CONSENT_STATE, PERSON.encode(), row(state)) for state in often)


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
