"""Links between names, packed: what they say is what a plain table of them says, in any order and however they come."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from harkara.contracts.event import epoch_ms, event_id
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import PERSON_IDENTITIES, SERVICE_WINDOWS
from harkara.contracts.webhooks import ServiceWindow
from harkara.policy.aliases import FOREVER_MS, MOST_NAMES, Aliases, known_names
from harkara.policy.known import Known
from tests.unit.policy.cases import ALONE, NOW

NAMES = [event_id("name", number) for number in range(12)]
KINDS = get_args(PersonAlias.model_fields["kind"].annotation)


def links(seed: int, count: int = 25) -> list[PersonAlias]:
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        person, other = chance.choice(NAMES), chance.choice(NAMES)
        at = NOW + timedelta(minutes=chance.randrange(100), microseconds=chance.choice([0, 7]))
        found.append(PersonAlias(person_key=person, alias_key=other, kind=chance.choice(KINDS), at=at))
    return found


class Plain:
    """The same as three tables of links, without any packing."""

    def __init__(self, aliases: list[PersonAlias]) -> None:
        self.names = dict[bytes, dict[bytes, int]]()
        self.phones = dict[bytes, dict[bytes, int]]()
        self.owners = dict[bytes, dict[bytes, int]]()
        for alias in aliases:
            person, other = bytes.fromhex(alias.person_key), bytes.fromhex(alias.alias_key)
            until = epoch_ms(alias.at) if alias.kind == "number_changed" else FOREVER_MS
            if person == other:
                continue
            _put(self.names, person, other, until)
            _put(self.owners, other, person, until)
            if alias.kind == "user_id":
                _put(self.phones, other, person, until)
            if alias.kind == "user_id_changed":
                _put(self.names, other, person, until)
                _put(self.owners, person, other, until)

    def names_of(self, name: bytes) -> dict[bytes, int]:
        return known_names(name, lambda n: self.names.get(n, {}).items(), lambda n: self.phones.get(n, {}))

    def owners_of(self, name: bytes) -> dict[bytes, int]:
        return known_names(name, lambda n: self.owners.get(n, {}).items(), lambda n: ())


def _put(table: dict[bytes, dict[bytes, int]], start: bytes, end: bytes, until: int) -> None:
    row = table.setdefault(start, {})
    row[end] = max(until, row.get(end, -1))


def text_of(alias: PersonAlias) -> bytes:
    return alias.model_dump_json().encode()


@pytest.mark.req("B17")
@pytest.mark.parametrize("seed", range(40))
def test_what_is_packed_is_what_a_plain_table_says(seed: int) -> None:
    """Decoded or as bytes, in any order and twice."""
    chance, told = random.Random(f"order {seed}"), links(seed)
    plain, aliases = Plain(told), Aliases(with_owners=True)
    for alias in chance.sample(told * 2, len(told) * 2):
        if chance.random() < 0.5 or not aliases.take(text_of(alias)):
            aliases.apply(alias)
    for name in NAMES:
        assert aliases.names(name) == plain.names_of(bytes.fromhex(name))
        assert {bytes.fromhex(each): until for each, until in aliases.owners(name)} == plain.owners_of(
            bytes.fromhex(name)
        )


def test_owners_are_kept_only_where_asked_for() -> None:
    alias = PersonAlias(person_key=NAMES[0], alias_key=NAMES[1], kind="user_id", at=NOW)
    without, with_owners = Aliases(), Aliases(with_owners=True)
    for each in (without, with_owners):
        assert each.take(text_of(alias))
    assert without.owners(NAMES[1]) == [] and with_owners.owners(NAMES[1]) == [(NAMES[0], FOREVER_MS)]
    assert without.names(NAMES[1]) == with_owners.names(NAMES[1]) == {bytes.fromhex(NAMES[0]): FOREVER_MS}


def test_of_too_many_names_the_latest_are_kept() -> None:
    aliases = Aliases(with_owners=True)
    others = [event_id("other", number) for number in range(MOST_NAMES + 8)]
    for number, other in enumerate(others):
        at = NOW + timedelta(minutes=number)
        aliases.apply(PersonAlias(person_key=NAMES[0], alias_key=other, kind="number_changed", at=at))
    assert set(aliases.names(NAMES[0])) == {bytes.fromhex(each) for each in others[8:]}


def test_a_link_takes_few_bytes() -> None:
    """Both directions of a user id: what a million persons take is this, and each name once."""
    aliases = Aliases(with_owners=True)
    assert aliases.take(text_of(PersonAlias(person_key=NAMES[0], alias_key=NAMES[1], kind="user_id", at=NOW)))
    rows = [aliases._links.get(bytes.fromhex(name)) for name in NAMES[:2]]
    assert [None if row is None else len(row) for row in rows] == [17, 17]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        text_of(links(1)[0])[:-1] + b',"note":"\\""}',
        text_of(links(1)[0]).replace(b"alias_key", b"other_key"),
        text_of(PersonAlias(person_key="p", alias_key=NAMES[1], kind="user_id", at=NOW)),
        text_of(PersonAlias(person_key=NAMES[0], alias_key=NAMES[1], kind="user_id", at=NOW)).replace(b"2026", b"1999"),
        text_of(PersonAlias(person_key=NAMES[0], alias_key=NAMES[1], kind="user_id", at=NOW)).replace(b"_id", b"_no"),
        text_of(PersonAlias(person_key=NAMES[0], alias_key=NAMES[1], kind="wa_id", at=NOW)).replace(b"Z", b"+05:30"),
    ],
)
def test_what_is_no_link_of_a_known_shape_is_left_to_the_decoder(text: bytes) -> None:
    known = text_of(PersonAlias(person_key=NAMES[2], alias_key=NAMES[3], kind="user_id", at=NOW))
    aliases = Aliases()
    assert aliases.take(text) is False and len(aliases) == 0
    assert aliases.take(known)
    assert aliases.take(text) is False and len(aliases) == 2


def test_a_number_changed_at_a_time_of_its_own() -> None:
    """Taken by the shape that an earlier one taught, with its own time."""
    aliases, at = Aliases(), datetime(2026, 3, 1, 12, tzinfo=UTC)
    for number in range(3):
        alias = PersonAlias(
            person_key=NAMES[number], alias_key=NAMES[number + 5], kind="number_changed", at=at + timedelta(days=number)
        )
        assert aliases.take(text_of(alias))
        assert aliases.names(NAMES[number]) == {bytes.fromhex(NAMES[number + 5]): epoch_ms(alias.at)}


@pytest.mark.req("RTW-1", "B17")
def test_a_window_opened_under_another_name_is_open_by_a_link_taken_as_bytes() -> None:
    known = Known(lambda: NOW)
    person, user_id = NAMES[:2]
    window = ServiceWindow(phone_number_id=ALONE, person_key=user_id, last_inbound_at=NOW - timedelta(hours=1))
    known.apply(SERVICE_WINDOWS, "", window)
    link = text_of(PersonAlias(person_key=person, alias_key=user_id, kind="user_id", at=NOW))
    assert not known.take(SERVICE_WINDOWS, b"", link) and known.around(person, [ALONE]).last_inbound_at == {}
    assert known.take(PERSON_IDENTITIES, b"", link)
    assert known.around(person, [ALONE]).last_inbound_at == {ALONE: window.last_inbound_at}


def test_what_is_said_under_an_old_number_counts_for_the_new_one_and_not_back() -> None:
    for kind in ("wa_id", "number_changed"):
        aliases = Aliases()
        aliases.apply(
            PersonAlias.model_validate({"person_key": NAMES[0], "alias_key": NAMES[1], "kind": kind, "at": NOW})
        )
        assert set(aliases.names(NAMES[0])) == {bytes.fromhex(NAMES[1])} and aliases.names(NAMES[1]) == {}


def test_a_chain_of_names_is_followed_so_far_and_no_further() -> None:
    aliases, chain = Aliases(), [event_id("chain", number) for number in range(MOST_NAMES + 10)]
    for new, old in itertools.pairwise(chain):
        aliases.apply(PersonAlias(person_key=new, alias_key=old, kind="wa_id", at=NOW))
    assert set(aliases.names(chain[0])) == {bytes.fromhex(each) for each in chain[1 : MOST_NAMES + 1]}


def link(person: str, other: str, kind: str = "user_id") -> PersonAlias:
    return PersonAlias.model_validate({"person_key": person, "alias_key": other, "kind": kind, "at": NOW})


def test_a_name_is_no_other_name_of_itself() -> None:
    aliases = Aliases()
    aliases.apply(link(NAMES[0], NAMES[0]))
    assert len(aliases) == 0


def test_a_second_name_that_somebody_knows_counts_without_any_link() -> None:
    aliases, (one, other, third) = Aliases(), (bytes.fromhex(name) for name in NAMES[:3])
    assert aliases.names(NAMES[0]) == {}
    assert aliases.names(NAMES[0], NAMES[1]) == {other: FOREVER_MS}
    aliases.apply(link(NAMES[0], NAMES[2]))
    assert aliases.names(NAMES[0]) == {third: FOREVER_MS}
    assert aliases.names(NAMES[0], NAMES[1]) == {other: FOREVER_MS, third: FOREVER_MS}
    assert aliases.names(NAMES[1], NAMES[0]) == {one: FOREVER_MS, third: FOREVER_MS}


def test_of_too_many_names_with_one_end_the_same_are_kept_whatever_came_first() -> None:
    others = sorted(event_id("other", number) for number in range(MOST_NAMES + 8))
    for order in (others, others[::-1]):
        aliases = Aliases()
        for other in order:
            aliases.apply(link(NAMES[0], other))
        assert sorted(name.hex() for name in aliases.names(NAMES[0])) == others[:MOST_NAMES]
