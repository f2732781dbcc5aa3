"""Who may be written to. Keyed by the person's pseudonym; no phone, no text.

`consent-events` is the history, kept for ever and never changed; `consent-state` is its join. The join keeps one word
per kind of thing that can be said (opting in or out with us, the same in WhatsApp's own settings, a pause, a block),
each the latest of its kind, so that any order and any repetition of the same events gives the same state. What holds
is read off these words: a block, then an erasure, then an opt-out, then a pause, then an opt-in. An erasure also takes
every older word out of the state: what is left is that and when the person was erased (CMP-12).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from harkara.contracts.event import Event, Instant, MessageId, Phone, UserId, Value
from harkara.contracts.intents import Strict

Purpose = Literal["marketing", "transactional"]
Standing = Literal["opted_in", "opted_out", "paused", "blocked", "erased"]
Change = Literal["opted_in", "opted_out", "paused", "resumed", "blocked", "erased"]
Recordable = Literal["opted_in", "opted_out", "paused", "resumed", "blocked"]
"""What clients may record. An erasure is asked of the console, which says what else comes of it."""
Source = Literal["keyword", "api", "kafka", "meta_preference", "meta_error", "operator", "import", "identity"]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(_[A-Za-z]{2,4})?$")]
Origin = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{0,64}$")]
Proof = Annotated[str, StringConstraints(max_length=200)]
PURPOSES: tuple[Purpose, ...] = ("marketing", "transactional")
AT_META: frozenset[str] = frozenset({"meta_preference", "meta_error"})
"""What people told WhatsApp, not us. Their `resume` there takes back their `stop` there and nothing else (Meta)."""
LIFTING: frozenset[str] = frozenset({"operator", "api"})
"""Whose opt-in ends a block. A person's own word never does, nor does a list from another system."""
OWN_WORD: Source = "keyword"
"""The source of what a person wrote to us. Their opt-in ends an erasure, as one of `LIFTING` does with its proof."""
SAID_ELSEWHERE = "said under another name of the person"
"""Begins the proof of a word that the guard wrote under another name too; a comma and that name follow."""
_SEVERITY: dict[Standing, int] = {"opted_in": 0, "paused": 1, "opted_out": 2, "blocked": 3, "erased": 4}


class ConsentEvent(Event):
    """A person's consent changed, by their own word, Meta's or an operator's. `purpose` None: every purpose.

    An opt-out, block or erasure is also the cancel of everything for that purpose that was accepted for the person
    until `cancels_until` (None: until `at`), on every number. `resumed` ends a pause and is no opt-in. `erased` is for
    every purpose, whatever `purpose` says, and all that was said until then is forgotten. `at` is when it was said;
    `proof` refers to where that can be seen, `origin` is where it was said (web-form, branch, whatsapp), `language` the
    person's, as far as known.
    """

    ce_type: ClassVar[str] = "harkara.consent-event.v1"
    event_id: str
    person_key: str
    standing: Change
    purpose: Purpose | None = None
    source: Source
    at: Instant
    until: Instant | None = None
    cancels_until: Instant | None = None
    proof: str = ""
    origin: str = ""
    language: Language | None = None
    actor: str = ""


class ConsentRequest(Strict, Event):
    """What an upstream system records of a person's consent, who is named by phone, by business-scoped user id, or by
    both, here and nowhere after. By both: the word is recorded under each, and makes no link between them.

    `request_id` is the system's own: the same one again is the same record. An opt-in counts only with its proof: a
    reference without personal data, where and when it was given, for which purpose, and in which language. `until` is
    a pause's end; without one it lasts until it is ended.
    """

    ce_type: ClassVar[str] = "harkara.consent-request.v1"
    model_config = ConfigDict(frozen=True, extra="forbid")  # restated: of two bases the last one's config wins
    request_id: MessageId
    phone: Phone | None = None
    user_id: UserId | None = None
    standing: Literal["opted_in", "opted_out", "paused", "resumed"]
    purpose: Purpose | Literal["all"] | None = None
    at: Instant | None = None
    until: Instant | None = None
    origin: Origin = ""
    proof: Proof = ""
    language: Language | None = None
    producer: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "kafka"

    @model_validator(mode="after")
    def _complete(self) -> ConsentRequest:
        fault = incomplete(self.standing, self)
        if fault is not None:
            raise ValueError(fault)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the person is given here, one or two."""
        return tuple(name for name in (self.phone, self.user_id) if name is not None)


def incomplete(standing: Change, given: BaseModel) -> str | None:
    """Why this is no record of consent (CMP-4): what an opt-in lacks to be proof of itself, which any other word may
    come without; or an end of what has none; or of whom it is."""
    if getattr(given, "phone", None) is None and getattr(given, "user_id", None) is None:
        return "name the person: phone, user_id (a business-scoped user id), or both"
    missing = [name for name in ("purpose", "at", "origin", "proof", "language") if not getattr(given, name)]
    if standing == "opted_in" and missing:
        return f"an opt-in is recorded with its {', '.join(missing)}"
    if standing != "paused" and getattr(given, "until", None) is not None:
        return "until is the end of a pause"
    return None


class PurposeConsent(Value):
    """One word: what was said for a purpose, when and by which way."""

    standing: Standing
    at: Instant
    event_id: str
    until: Instant | None = None
    source: str = ""


class Heard(Value):
    """The latest word of each kind for one purpose: a join, member by member.

    `word`: opting in or out with us. `at_meta`: the same in WhatsApp. `pause`, and `resumed_at`, until which pauses
    are over. `block`: a block, or the opt-in by an operator that ended one. `revoked_until`: whatever was accepted
    until then is cancelled, also where the person has opted in again since. `erased_at`: nothing is held of what was
    said until then. `returned_at`: the person's own newest opt-in with us.
    """

    word: PurposeConsent | None = None
    at_meta: PurposeConsent | None = None
    pause: PurposeConsent | None = None
    resumed_at: Instant | None = None
    block: PurposeConsent | None = None
    revoked_until: Instant | None = None
    erased_at: Instant | None = None
    returned_at: Instant | None = None

    def shown(self) -> PurposeConsent | None:
        """The word that holds: a block, an erasure, an opt-out, a pause that was not ended, an opt-in."""
        if self.block is not None and self.block.standing == "blocked":
            return self.block
        if self.erased_at is not None and not self._came_back(self.erased_at):
            return PurposeConsent(standing="erased", at=self.erased_at, event_id="")
        opted = self.opted()
        if opted is not None and opted.standing == "opted_out":
            return opted
        if self.pause is not None and (self.resumed_at is None or self.pause.at >= self.resumed_at):
            return self.pause
        return opted

    def _came_back(self, erased_at: datetime) -> bool:
        """Whether they opted in since: by their own word to us, or by an operator or the API with its proof."""
        own = self.returned_at is not None and self.returned_at > erased_at
        return own or (self.block is not None and self.block.standing == "opted_in" and self.block.at > erased_at)

    def opted(self) -> PurposeConsent | None:
        """The opt-in or opt-out that holds, whatever is paused or blocked besides. Told to us after a stop in
        WhatsApp, an opt-in stands (Meta refuses what it must); told to WhatsApp, it ends no opt-out with us."""
        if self.at_meta is not None and self.at_meta.standing != "opted_in":
            return _later(self.word, self.at_meta)
        return self.word or self.at_meta


class ConsentState(Event):
    """A person's consent per purpose: a join of the events seen, so any order and repetition gives the same.

    `marketing` and `transactional` are the words that hold; `heard` is what they are read off, by purpose, where more
    was said than the word that holds. `language` is the one that the newest event named.
    """

    ce_type: ClassVar[str] = "harkara.consent-state.v1"
    person_key: str
    marketing: PurposeConsent | None = None
    transactional: PurposeConsent | None = None
    heard: dict[Purpose, Heard] = Field(default_factory=dict)
    language: Language | None = None
    language_at: Instant | None = None

    def denies(self, purpose: Purpose, now: datetime) -> Standing | None:
        """Why a message of this purpose may not go at `now`, or None. A pause ends by itself at `until`."""
        word = self.marketing if purpose == "marketing" else self.transactional
        if word is None or word.standing == "opted_in":
            return None
        if word.standing == "paused" and word.until is not None and word.until <= now:
            return None
        return word.standing

    def revoked(self, purpose: Purpose, accepted_at: datetime) -> bool:
        """Whether an opt-out that is not older cancelled a message of this purpose that was accepted then."""
        until = self.words(purpose).revoked_until
        return until is not None and accepted_at <= until

    def words(self, purpose: Purpose) -> Heard:
        """The words for a purpose; where `heard` has none, the word that is shown is all that was said."""
        heard = self.heard.get(purpose)
        return _alone(self.marketing if purpose == "marketing" else self.transactional) if heard is None else heard


def advance_consent(current: ConsentState | None, event: ConsentEvent) -> ConsentState:
    """Join one event into the state; commutative, associative and idempotent.

    Of two words of a kind the later wins; at the same instant the stricter one; then the event id.
    """
    state = current or ConsentState(person_key=event.person_key)
    heard = {purpose: state.words(purpose) for purpose in PURPOSES}
    for purpose in (event.purpose,) if event.purpose and event.standing != "erased" else PURPOSES:
        heard[purpose] = _joined(heard[purpose], event.standing, _word_of(event), event.cancels_until or event.at)
    shown = {purpose: words.shown() for purpose, words in heard.items()}
    more = {purpose: words for purpose, words in heard.items() if words != _alone(shown[purpose])}
    update: dict[str, object] = {str(purpose): word for purpose, word in shown.items()}
    update["heard"] = more
    return state.model_copy(update=update | _language(state, event, heard["marketing"].erased_at))


def joined_words(a: Heard, b: Heard) -> Heard:
    """What one person said under two names: of each kind of word the latest."""
    joined = Heard(
        word=_latest_word(a.word, b.word),
        at_meta=_latest_word(a.at_meta, b.at_meta),
        pause=_latest_word(a.pause, b.pause),
        resumed_at=_latest_instant(a.resumed_at, b.resumed_at),
        block=_latest_word(a.block, b.block),
        revoked_until=_latest_instant(a.revoked_until, b.revoked_until),
        erased_at=_latest_instant(a.erased_at, b.erased_at),
        returned_at=_latest_instant(a.returned_at, b.returned_at),
    )
    return joined if joined.erased_at is None else _forgotten(joined, joined.erased_at)


def _latest_word(a: PurposeConsent | None, b: PurposeConsent | None) -> PurposeConsent | None:
    return a if b is None else _later(a, b)


def _latest_instant(a: datetime | None, b: datetime | None) -> datetime | None:
    return a if b is None else _latest(a, b)


def _alone(word: PurposeConsent | None) -> Heard:
    """What was heard where no more than this was said: most persons said one word, and half the record is enough."""
    return Heard() if word is None else _joined(Heard(), word.standing, word, word.at)


def _word_of(event: ConsentEvent) -> PurposeConsent:
    standing: Standing = "opted_in" if event.standing == "resumed" else event.standing
    until = event.until if event.standing == "paused" else None
    return PurposeConsent(standing=standing, at=event.at, event_id=event.event_id, until=until, source=event.source)


def _joined(heard: Heard, change: Change, word: PurposeConsent, cancels_until: datetime) -> Heard:
    new: dict[str, PurposeConsent | datetime | None] = {}
    if change in ("opted_out", "blocked", "erased"):
        new["revoked_until"] = _latest(heard.revoked_until, cancels_until)
    if change == "erased":
        new["erased_at"] = _latest(heard.erased_at, word.at)
        return _kept(heard.model_copy(update=new))
    if word.source in AT_META:
        new["at_meta"] = _later(heard.at_meta, word)
        return _kept(heard.model_copy(update=new))
    if change in ("resumed", "opted_in"):
        new["resumed_at"] = _latest(heard.resumed_at, word.at)
    if change in ("opted_in", "opted_out"):
        new["word"] = _later(heard.word, word)
    if change == "paused":
        new["pause"] = _later(heard.pause, word)
    if change == "blocked" or (change == "opted_in" and word.source in LIFTING):
        new["block"] = _later(heard.block, word)
    if change == "opted_in" and word.source == OWN_WORD:
        new["returned_at"] = _latest(heard.returned_at, word.at)
    return _kept(heard.model_copy(update=new))


def _kept(heard: Heard) -> Heard:
    return heard if heard.erased_at is None else _forgotten(heard, heard.erased_at)


def _forgotten(heard: Heard, erased_at: datetime) -> Heard:
    """Without what was said until the erasure: each kind keeps its latest, so what is gone could never come back.
    `revoked_until` stays: it says of messages, not of the person, that they are cancelled."""
    gone: dict[str, None] = {}
    for slot in ("word", "at_meta", "pause", "block"):
        word: PurposeConsent | None = getattr(heard, slot)
        if word is not None and word.at <= erased_at:
            gone[slot] = None
    for slot in ("resumed_at", "returned_at"):
        at: datetime | None = getattr(heard, slot)
        if at is not None and at <= erased_at:
            gone[slot] = None
    return heard.model_copy(update=gone) if gone else heard


def _language(state: ConsentState, event: ConsentEvent, erased_at: datetime | None) -> dict[str, object]:
    at, named = state.language_at, state.language
    if event.language is not None and (at is None or (at, named or "") < (event.at, event.language)):
        at, named = event.at, event.language
    if erased_at is not None and (at is None or at <= erased_at):
        at, named = None, None
    return {"language": named, "language_at": at}


def _latest(a: datetime | None, b: datetime) -> datetime:
    return b if a is None else max(a, b)


def _later(a: PurposeConsent | None, b: PurposeConsent) -> PurposeConsent:
    return b if a is None else max(a, b, key=_order)


def _order(word: PurposeConsent) -> tuple[datetime, int, str]:
    return word.at, _SEVERITY[word.standing], word.event_id
