"""Whom a webhook is about: by phone number, by business-scoped user id, or by both (B17). Pure.

A person's key is made of the phone where Meta names it, else of the user id. Where it names both, that is told on
`person-identities`, so that what is said under one counts under the other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from harkara.contracts.event import event_id
from harkara.contracts.identity import is_phone, is_user_id, person_key
from harkara.contracts.persons import PersonAlias, alias_record_key
from harkara.contracts.topics import PERSON_IDENTITIES
from harkara.ingestion.core import Emission
from harkara.ingestion.readings import record, records, text

Kind = Literal["user_id", "user_id_changed", "number_changed", "wa_id"]
_OF_ONE = ("recipient_id", "recipient_user_id", "recipient_parent_user_id", "parent_recipient_user_id")
_OF_A_MEMBER = (
    "recipient_participant_id", "participant_recipient_id", "recipient_participant_user_id",
    "recipient_participant_parent_user_id",
)  # fmt: skip
"""Where a status names whom it is about; Meta's pages spell some of them two ways."""
MOST_TOLD = 200_000  # links that need not be written again; about 30 MB, a day of most senders' people


@dataclass(frozen=True, slots=True)
class Person:
    """A person as one webhook names them; at least one of both is known."""

    key: str
    phone: str | None
    user_id: str | None


class People:
    """The persons of one change: its `contacts` tell the user id that belongs to a phone."""

    def __init__(self, pepper: bytes, contacts: object) -> None:
        self._pepper = pepper
        self._user_ids: dict[str, str] = {}
        listed = records(contacts)
        for contact in listed:
            phone, user_id = text(contact.get("wa_id")), text(contact.get("user_id"))
            if phone and user_id and is_phone(phone):
                self._user_ids[phone] = user_id
        self._only = listed[0] if len(listed) == 1 else {}

    def named(self, *names: object) -> Person | None:
        """The person with these names: phones and user ids, either in the other's place; None where there is none."""
        phone: str | None = None
        user_id: str | None = None
        for name in names:
            if not isinstance(name, str) or not name:
                continue
            if is_phone(name):
                phone = phone or name
            else:
                user_id = user_id or name
        if phone is not None:
            phone = phone.removeprefix("+")
            user_id = user_id or self._user_ids.get(phone)
        primary = phone or user_id
        return None if primary is None else Person(person_key(self._pepper, primary), phone, user_id)

    def sender(self, item: dict[str, Any]) -> Person | None:
        """Who wrote an inbound message; without a word of its own, the change's only contact. A `system` message is
        told by its own names alone: the contacts beside it may have those from before or from after the change."""
        if item.get("type") == "system":
            told = record(item.get("system"))
            alone = People(self._pepper, None)
            return alone.named(item.get("from"), item.get("from_user_id")) or alone.named(
                told.get("wa_id"), told.get("user_id")
            )
        found = self.named(item.get("from"), item.get("from_user_id"), item.get("from_parent_user_id"))
        return found or self.named(self._only.get("wa_id"), self._only.get("user_id"))

    def recipient(self, item: dict[str, Any]) -> Person | None:
        """Whom a status is about. In a group it is the participant; the group itself is nobody."""
        if item.get("recipient_type") == "group" or any(item.get(name) for name in _OF_A_MEMBER):
            return self.named(*(item.get(name) for name in _OF_A_MEMBER))
        inside = record(item.get("message")).get("recipient_id")  # as some forward it
        return self.named(*(item.get(name) for name in _OF_ONE), inside)

    def both_names(self, person: Person | None, at: datetime) -> list[Emission]:
        """That phone and user id are one person's, where both are known and the id is one: a constant in its place
        would make one person of many."""
        if person is None or person.phone is None or not is_user_id(person.user_id):
            return []
        assert person.user_id is not None
        return self._link(person.key, person_key(self._pepper, person.user_id), "user_id", at)

    def changes(self, item: dict[str, Any], at: datetime) -> list[Emission]:
        """What a `system` message says of a person's names: another number, another user id, or both.

        With another number the old one stays behind for whoever gets it next: what is said under it until now counts
        for the new one. With another user id alone both are the same person's.
        """
        told = record(item.get("system"))
        old_phone = next((each for each in (item.get("from"), told.get("customer")) if is_phone(each)), None)
        phones = (told.get("new_wa_id"), told.get("wa_id"))  # with the first, the second may be the old one
        new_phone = next((each for each in phones if is_phone(each)), None)
        moved = is_phone(new_phone) and new_phone != old_phone
        old_id, new_id = _ids_told(told)
        new_id = new_id or text(item.get("from_user_id"))
        now = self.named(new_phone if moved else old_phone, new_id)
        before = self.named(old_phone, old_id) if moved else None
        found = self.both_names(now, at) + self.both_names(before, at)
        if moved:
            found += self._changed(old_phone, new_phone, "number_changed", at)
        return found + self._changed(old_id, new_id, "number_changed" if moved else "user_id_changed", at)

    def _changed(self, old: object, new: object, kind: Kind, at: datetime) -> list[Emission]:
        if not all(is_phone(name) or is_user_id(name) for name in (old, new)):
            return []
        assert isinstance(old, str) and isinstance(new, str)
        return self._link(person_key(self._pepper, new), person_key(self._pepper, old), kind, at)

    def _link(self, person: str, alias: str, kind: Kind, at: datetime) -> list[Emission]:
        if person == alias:
            return []
        event = PersonAlias(person_key=person, alias_key=alias, kind=kind, at=at)
        identity = event_id("alias", person, alias, kind, int(at.timestamp()) if kind == "number_changed" else "")
        return [Emission(PERSON_IDENTITIES, person, alias_record_key(event), event, identity)]


def _ids_told(told: dict[str, Any]) -> tuple[str | None, str | None]:
    """The user id from before a change and the one from now on; with `new_user_id`, `user_id` is the one before where
    none is named as such."""
    said, new, before = (text(told.get(name)) for name in ("user_id", "new_user_id", "previous_user_id"))
    return (before or said, new) if new else (before, said)


class Told:
    """The links that were written lately: every status of a person names both, and once is enough.

    Lost with the process, as an emission that was not acknowledged is: then the link is written once more.
    """

    def __init__(self, most: int = MOST_TOLD) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._most = most

    def news(self, emissions: Iterable[Emission]) -> list[Emission]:
        """The emissions without the links that were told already."""
        return [each for each in emissions if each.topic is not PERSON_IDENTITIES or self._is_new(each.id)]

    def _is_new(self, identity: str) -> bool:
        if identity in self._ids:
            self._ids.move_to_end(identity)
            return False
        self._ids[identity] = None
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)
        return True
