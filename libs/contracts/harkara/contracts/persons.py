"""Under which names one person is known to us: pseudonyms only, no phone and no user id."""

from __future__ import annotations

from typing import ClassVar, Literal

from harkara.contracts.event import Event, Instant


class PersonAlias(Event):
    """What was said under `alias_key` counts for `person_key` too (B17).

    kind user_id: the person with this phone has this business-scoped user id. user_id_changed: the same user got
    another id, and both names are one person's. number_changed: the person moved from the number `alias_key` to
    `person_key` at `at`; what is said under the old number later may be its next owner's and counts no more. wa_id:
    Meta knows the number that we wrote to by another one.
    """

    ce_type: ClassVar[str] = "harkara.person-alias.v1"
    person_key: str
    alias_key: str
    kind: Literal["user_id", "user_id_changed", "number_changed", "wa_id"]
    at: Instant


def alias_record_key(alias: PersonAlias) -> str:
    """The record's key: one record per pair of names."""
    return f"{alias.person_key}:{alias.alias_key}"
