"""Which number of a pool is a person's own: always the same, and spread by what the numbers can do (RTW-5, RTW-6)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from harkara.policy.governance import Governance, Number, Profile


def sticky_order(
    person_key: str, numbers: Sequence[Number], governance: Governance, near: Sequence[str] = ()
) -> list[Number]:
    """Weighted rendezvous hashing: a person keeps their number, and a number that comes or goes moves only its own.

    Numbers get persons in proportion to how fast their profile lets them send; those in `near`, of their own country,
    come first (RTW-6).
    """
    if len(numbers) == 1:
        return list(numbers)

    def order(number: Number) -> tuple[bool, float]:
        return number.phone_number_id not in near, -_score(person_key, number, governance.profile_of(number))

    return sorted(numbers, key=order)


def messages_per_minute(profile: Profile) -> float:
    """How many messages a profile lets through in a minute in the long run."""
    rates = [profile.per_second * 60.0]
    per_window = ((profile.per_minute, 1), (profile.per_hour, 60), (profile.per_day, 1440))
    rates += [limit / minutes for limit, minutes in per_window if limit is not None]
    gap_ms = profile.base_delay_ms + profile.max_jitter_ms / 2
    if gap_ms > 0:
        rates.append(60_000 / gap_ms)
    return min(rates)


def _score(person_key: str, number: Number, profile: Profile) -> float:
    digest = hashlib.sha256(f"{person_key}\x1f{number.phone_number_id}".encode()).digest()
    share = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 2)  # strictly between 0 and 1
    return -messages_per_minute(profile) / math.log(share)
