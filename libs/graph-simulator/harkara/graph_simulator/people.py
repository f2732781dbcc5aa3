"""The people who are written to: what is known of each, and what Meta makes of a message to them for that.

Nobody needs to be declared: a person without an entry has WhatsApp, reads, and has blocked and stopped nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.scenario import Fate, Step

MAX_PEOPLE = 1_000_000
"""About 500 MB; above it a new person is refused by the control endpoint rather than an old one forgotten."""
AMERICAN_DIGITS = 11
MARKETING_SECONDS = 86_400.0
"""The per-user cap and its lengthening count in 24 hours (Meta, per-user marketing template limits)."""

NOT_ON_WHATSAPP = Fate("person_not_on_whatsapp", (Step("failed", "sent", 131026),))
STOPPED_MARKETING = Fate("person_stopped_marketing", (Step("failed", "sent", 131050),))
CAPPED = Fate("person_capped", (Step("failed", "sent", 131049),))
IN_EXPERIMENT = Fate("person_in_experiment", (Step("failed", "sent", 130472),))
BLOCKS_BUSINESS = Fate("person_blocks_business", (Step("sent", "sent"),))
PERSONAL = {fate.name: fate for fate in (NOT_ON_WHATSAPP, STOPPED_MARKETING, CAPPED, IN_EXPERIMENT, BLOCKS_BUSINESS)}


@dataclass(slots=True)
class Person:
    """One person. `identity_hash`: what `recipient_identity_key_hash` must equal.

    `username_only`: webhooks show no number. `blocked_by`: the numbers that blocked the person by block_users.
    `marketing_at`: marketing of the last 24 h.
    """

    on_whatsapp: bool = True
    stopped_marketing: bool = False
    blocks_business: bool = False
    in_experiment: bool = False
    username_only: bool = False
    identity_hash: str | None = None
    blocked_by: set[str] = field(default_factory=set)
    marketing_at: deque[float] = field(default_factory=deque)


class People:
    """Persons by wa_id or business-scoped user id."""

    def __init__(self) -> None:
        self._people: dict[str, Person] = {}

    def get(self, wa_id: str) -> Person | None:
        """The person, where anything is known."""
        return self._people.get(wa_id)

    def known(self, wa_id: str) -> Person:
        """The person, made where there was none. Raises OverflowError above MAX_PEOPLE."""
        person = self._people.get(wa_id)
        if person is None:
            if len(self._people) >= MAX_PEOPLE:
                raise OverflowError("the simulator knows too many people")
            person = self._people[wa_id] = Person()
        return person

    def blocked_by(self, phone_number_id: str) -> Iterator[str]:
        """Everyone whom the number blocked, in order of their first mention."""
        return (wa_id for wa_id, person in self._people.items() if phone_number_id in person.blocked_by)

    def refusal(self, wa_id: str, phone_number_id: str, key_hash: object) -> Refusal | None:
        """130403 for a person whom the number blocked, 137000 for another identity than the caller believes."""
        person = self._people.get(wa_id)
        if person is None:
            return None
        if phone_number_id in person.blocked_by:
            return Refusal(130403)
        if key_hash is not None and person.identity_hash is not None and key_hash != person.identity_hash:
            return Refusal(137000)
        return None

    def fate(self, wa_id: str, *, marketing: bool, window_open: bool) -> Fate | None:
        """What being this person makes of an accepted message; None: nothing."""
        person = self._people.get(wa_id)
        if person is None:
            return None
        if not person.on_whatsapp:
            return NOT_ON_WHATSAPP
        if person.blocks_business:
            return BLOCKS_BUSINESS
        if marketing and person.stopped_marketing:
            return STOPPED_MARKETING
        return IN_EXPERIMENT if marketing and person.in_experiment and not window_open else None

    def capped(self, wa_id: str, now: float, most: int, horizon_seconds: float) -> bool:
        """Counts a marketing message outside a window; True above `most` in 24 h (131049; each try counts on)."""
        if wa_id.startswith("1") and len(wa_id) == AMERICAN_DIGITS:
            return True  # no marketing is delivered to numbers of the USA since April 2025 (Meta)
        if most == 0:
            return False
        times = self.known(wa_id).marketing_at
        while times and times[0] <= now - horizon_seconds:
            times.popleft()
        times.append(now)
        if len(times) <= most:
            return False
        while len(times) > most + 1:
            times.popleft()  # each new try lengthens it: the newest ones count
        return True
