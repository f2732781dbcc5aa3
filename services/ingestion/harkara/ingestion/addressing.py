"""Under whose key a change is kept: its number's, however Meta names it; else its account's. Pure.

Notices about a number carry what people see as it and no `phone_number_id` (Cloud API, webhook reference); keyed by the
number all the same, they stay in order with the messages of that number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harkara.ingestion.core import phone_number_id_of
from harkara.policy.governance import Governance

Unmapped = Literal["number", "account"]
DASHBOARD_TEST = "0"  # entry id of the app dashboard's Test button, with an invented number
NAMELESS = "nameless"
"""The key of a change that names neither a number nor an account."""


@dataclass(frozen=True, slots=True)
class Address:
    """The key of a change. `unmapped` says what of it the governance file does not know: the change is kept under
    what Meta called it, so that nothing is lost and the same stays together."""

    key: str
    unmapped: Unmapped | None = None


class Addresses:
    """The mapping tables: display number -> phone_number_id, account -> its numbers."""

    def __init__(self, governance: Governance) -> None:
        self._governance = governance
        self._of_account: dict[str, list[str]] = {}
        for number in governance.numbers:
            self._of_account.setdefault(number.waba_id, []).append(number.phone_number_id)
        self._portfolios = {number.portfolio_id for number in governance.numbers}

    def of(self, entry_id: str, value: Mapping[str, Any]) -> Address:
        """Where a change of that entry belongs.

        An account with one number gives that number's key, one with several its own: a change is one record, and no
        number of several is the right one. Partners' events have the business as `entry_id` and name the account
        inside (Cloud API, `PARTNER_*`).
        """
        named = _number_named(value)
        if named is not None:
            known = self._governance.number(named) is not None or entry_id == DASHBOARD_TEST
            return Address(named, None if known else "number")
        shown = _shown(value)
        number = self._governance.number_by_display(shown) if shown else None
        if number is not None:
            return Address(number.phone_number_id)
        return self._by_account(_account_of(value) or entry_id, stray=shown is not None)

    def _by_account(self, account: str, *, stray: bool) -> Address:
        numbers = self._of_account.get(account, [])
        if stray and account != DASHBOARD_TEST:
            return Address(account or NAMELESS, "number")
        if len(numbers) == 1:
            return Address(numbers[0])
        known = bool(numbers) or account in self._portfolios or account == DASHBOARD_TEST
        return Address(account or NAMELESS, None if known else "account")


def _number_named(value: Mapping[str, Any]) -> str | None:
    """The id in the metadata, or the number that an account alert is about."""
    if value.get("entity_type") == "PHONE_NUMBER":
        return str(value.get("entity_id") or "") or phone_number_id_of(value)
    return phone_number_id_of(value)


def _shown(value: Mapping[str, Any]) -> str | None:
    """`display_phone_number`, of the notice itself or of its metadata."""
    metadata = value.get("metadata")
    inside = metadata.get("display_phone_number") if isinstance(metadata, dict) else None
    found = value.get("display_phone_number") or inside
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else None


def _account_of(value: Mapping[str, Any]) -> str | None:
    info = value.get("waba_info")
    found = info.get("waba_id") if isinstance(info, dict) else None
    return str(found) if isinstance(found, str | int) and found else None
