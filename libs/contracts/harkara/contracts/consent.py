"""Who may be written to. Keyed by the person's pseudonym; no phone, no text."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from harkara.contracts.event import Event, Instant, Value

Purpose = Literal["marketing", "transactional"]
Standing = Literal["opted_in", "opted_out", "paused", "blocked"]
PURPOSES: tuple[Purpose, ...] = ("marketing", "transactional")
_SEVERITY: dict[Standing, int] = {"opted_in": 0, "paused": 1, "opted_out": 2, "blocked": 3}


class ConsentEvent(Event):
    """A person's consent changed, by their own word, Meta's or an operator's. `purpose` None: every purpose."""

    ce_type: ClassVar[str] = "harkara.consent-event.v1"
    event_id: str
    person_key: str
    standing: Standing
    purpose: Purpose | None = None
    source: Literal["keyword", "api", "meta_preference", "meta_error", "operator", "import"]
    at: Instant
    until: Instant | None = None
    proof: str = ""
    actor: str = ""


class PurposeConsent(Value):
    """The latest word for one purpose."""

    standing: Standing
    at: Instant
    event_id: str
    until: Instant | None = None
    source: str = ""


class ConsentState(Event):
    """A person's consent per purpose: a join of the events seen, so any order and repetition gives the same."""

    ce_type: ClassVar[str] = "harkara.consent-state.v1"
    person_key: str
    marketing: PurposeConsent | None = None
    transactional: PurposeConsent | None = None

    def denies(self, purpose: Purpose, now: datetime) -> Standing | None:
        """Why a message of this purpose may not go at `now`, or None. A pause ends by itself at `until`."""
        word = self.marketing if purpose == "marketing" else self.transactional
        if word is None or word.standing == "opted_in":
            return None
        if word.standing == "paused" and word.until is not None and word.until <= now:
            return None
        return word.standing


def advance_consent(current: ConsentState | None, event: ConsentEvent) -> ConsentState:
    """Join one event into the state: the latest word wins; at the same instant the stricter one; then the event id."""
    state = current or ConsentState(person_key=event.person_key)
    word = PurposeConsent(
        standing=event.standing, at=event.at, event_id=event.event_id, until=event.until, source=event.source
    )
    purposes = (event.purpose,) if event.purpose else PURPOSES
    return state.model_copy(update={purpose: _later(getattr(state, purpose), word) for purpose in purposes})


def _later(a: PurposeConsent | None, b: PurposeConsent) -> PurposeConsent:
    return b if a is None else max(a, b, key=lambda word: (word.at, _SEVERITY[word.standing], word.event_id))
