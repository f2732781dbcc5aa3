"""What happened to a message, and the join that makes its current state of it.

One total order, three phases: the policy's, the lane's, the effect's. Evidence of an effect outranks every end
without one. The state is, per attempt, the maximum (phase, rank) of the events seen, and per status the earliest
time: a pointwise maximum, so any order and any repetition of the same events gives the same state.

Marks are phase 0: what was noticed about a message (nothing is heard of it), below everything that happened to it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

import orjson
from pydantic import Field, model_validator

from harkara.contracts.event import Decision, Event, Home, Instant, Reason

PolicyStatus = Literal["received", "cleared", "routed", "rejected"]
LaneStatus = Literal[
    "queued", "scheduled", "held", "attempting", "retrying", "in_doubt",
    "cancelled", "expired", "failed_unsent", "unknown", "rehearsed",
]  # fmt: skip
EffectStatus = Literal["submitted", "sent", "failed", "delivered", "read", "played"]
MarkStatus = Literal["silent", "presumed_dropped"]
Status = Literal[
    "received", "cleared", "routed", "rejected",
    "queued", "scheduled", "held", "attempting", "retrying", "in_doubt",
    "cancelled", "expired", "failed_unsent", "unknown", "rehearsed",
    "submitted", "sent", "failed", "delivered", "read", "played",
    "silent", "presumed_dropped",
]  # fmt: skip

MARK_RANK: dict[str, int] = {"silent": 0, "presumed_dropped": 1}
POLICY_RANK: dict[str, int] = {"received": 0, "cleared": 1, "routed": 2, "rejected": 3}
EFFECT_RANK: dict[str, int] = {"submitted": 0, "sent": 1, "failed": 2, "delivered": 3, "read": 4, "played": 5}
FIXED_RANK = MARK_RANK | POLICY_RANK | EFFECT_RANK
"""By status; any other is a lane's, whose rank is its journal sequence."""
_PHASE = dict.fromkeys(MARK_RANK, 0) | dict.fromkeys(POLICY_RANK, 1) | dict.fromkeys(EFFECT_RANK, 3)
REACHED = frozenset({"delivered", "read", "played"})
ENDS_WITHOUT_EFFECT = frozenset({"rejected", "cancelled", "expired", "failed_unsent", "unknown", "rehearsed"})
ENDS = ENDS_WITHOUT_EFFECT | REACHED | {"failed"}
"""Statuses after which nothing more is expected (`sent` may stay for ever: the recipient's phone is off)."""


class Pricing(Event):
    """What Meta says it charged (`pricing` of a status webhook), and the conversation it named until v23."""

    ce_type: ClassVar[str] = "harkara.pricing.v1"
    category: str | None = None
    type: str | None = None
    model: str | None = None
    billable: bool | None = None
    conversation: str | None = None
    origin: str | None = None


class MessageLifecycle(Event):
    """One step of one message.

    `rank` is fixed by the status, but in phase 2 it is the lane's journal sequence. `attempt` is 0 before
    a lane has the message; in a lane, the number of the attempt it belongs to: a hold, retry or cancellation after
    attempt n belongs to n + 1. `message_id` None: a status of Meta's without our callback data, joined by `wamid`.
    `reached_key` is the person as Meta names the recipient's phone: where it is another than `person_key`, the `wa_id`
    is not the number that was written to. It is kept beside it and never takes its place.
    """

    ce_type: ClassVar[str] = "harkara.message-lifecycle.v1"
    message_id: str | None = None
    home: Home
    status: Status
    rank: int = -1
    attempt: int = Field(default=0, ge=0)
    at: Instant
    phone_number_id: str | None = None
    wamid: str | None = None
    form: Literal["session", "template"] | None = None
    template: str | None = None
    error_code: int | None = None
    reason: Reason | None = None
    pricing: Pricing | None = None
    hold_until: Instant | None = None
    run_id: str | None = None
    producer: str | None = None
    person_key: str | None = None
    reached_key: str | None = None
    category: str | None = None
    received_at: Instant | None = None
    decision: Decision | None = None

    @model_validator(mode="before")
    @classmethod
    def _rank_of_status(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(status := data.get("status"), str):
            return data  # the field's own check says what is wrong with it
        fixed = FIXED_RANK.get(status)
        if fixed is not None:
            return {**data, "rank": fixed}
        rank = data.get("rank", -1)
        if isinstance(rank, int) and rank < 0:
            raise ValueError("a lane's status needs its journal sequence as rank")
        return data

    @property
    def phase(self) -> int:
        """0 mark, 1 policy, 2 lane, 3 effect."""
        return _PHASE.get(self.status, 2)


State = dict[str, Any]
"""A message's state as it is published on `message-state` (schema: MessageState)."""

FACTS = ("run_id", "producer", "person_key", "category", "received_at")
EVIDENCE = (
    "phone_number_id", "wamid", "form", "template", "error_code", "reason", "hold_until", "pricing", "reached_key",
)  # fmt: skip
CARRIED = ("wamid", "phone_number_id", "form", "template", "pricing", "reached_key")
"""Evidence that a later status need not repeat."""


class MessageState(Event):
    """The state of one message, as readers of `message-state` see it.

    `attempts` maps the attempt's number to {phase, rank, status, at, seen: {status: earliest time}, ...evidence}.
    `first_seen` is the earliest time of each status over all attempts, marks included. `duplicate` is True when two
    attempts reached the person. `billing` maps the wamid of each delivery of which Meta said a price to {category,
    type, model, billable}: one entry a wamid, however many statuses repeat it.

    `anomalies` names what should not be, for example `failed_after_delivered`. `version` grows with
    the events that changed the state; of two records of a message the one with the higher version is the newer.
    """

    ce_type: ClassVar[str] = "harkara.message-state.v1"
    message_id: str
    home: Home
    status: Status
    attempt: int
    at: Instant
    wamid: str | None = None
    phone_number_id: str | None = None
    error_code: int | None = None
    reason: Reason | None = None
    facts: dict[str, str] = Field(default_factory=dict)
    attempts: dict[str, dict[str, Any]] = Field(default_factory=dict)
    first_seen: dict[str, Instant] = Field(default_factory=dict)
    duplicate: bool = False
    anomalies: tuple[str, ...] = ()
    billing: dict[str, Pricing] = Field(default_factory=dict)
    version: int = 0


def advance(current: State | None, event: MessageLifecycle) -> State:
    """Join one event into a message's state; `current` is not changed.

    Commutative, associative and idempotent up to `version`, which counts the joins that changed something.
    Returns `current` itself when the event adds nothing.
    """
    data = event.model_dump(mode="json", exclude_none=True) | {"at": _sortable(event.at)}
    number = str(event.attempt)
    attempt = _joined_attempt((current or {}).get("attempts", {}).get(number), event, data)
    facts = _joined_facts((current or {}).get("facts", {}), data)
    if current is not None and current["attempts"].get(number) == attempt and current["facts"] == facts:
        return current
    attempts = {**(current or {}).get("attempts", {}), number: attempt}
    state: State = {
        "message_id": event.message_id if current is None else current["message_id"],
        "home": event.home if current is None else min(current["home"], event.home),
        "facts": facts,
        "attempts": attempts if len(attempts) == 1 else dict(sorted(attempts.items(), key=lambda item: int(item[0]))),
        "version": 1 if current is None else current["version"] + 1,
    }
    return {**state, **_shown(state["attempts"])}


def _joined_attempt(seen: dict[str, Any] | None, event: MessageLifecycle, data: dict[str, Any]) -> dict[str, Any]:
    top = {"phase": event.phase, "rank": event.rank, "status": event.status, "at": data["at"]}
    top |= {key: data[key] for key in EVIDENCE if key in data}
    if "pricing" in top:
        top["pricing"] = top["pricing"] | {"said_with": event.status}
    times = {event.status: data["at"]}
    if seen is None:
        return {**top, "seen": times}
    merged = dict(seen["seen"])
    merged[event.status] = min(merged.get(event.status, data["at"]), data["at"])
    before = {key: value for key, value in seen.items() if key != "seen"}
    winner = top if _outranks(top, before) else before
    joined = {**winner, "at": merged[winner["status"]]}
    for key in CARRIED:
        new, old = top.get(key), before.get(key)
        if new is None or old is None or new == old:
            value = old if new is None else new
        else:
            value = max(new, old, key=_weight)  # the same in practice; the maximum keeps the join commutative
        if value is not None:
            joined[key] = value
    return {**joined, "seen": dict(sorted(merged.items()))}


def _outranks(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """By phase and rank, then by a total order over the rest that depends on no arrival order."""
    ours, theirs = (new["phase"], new["rank"]), (old["phase"], old["rank"])
    return ours > theirs if ours != theirs else _rest(new) > _rest(old)


def _rest(evidence: dict[str, Any]) -> bytes:
    rest = {key: evidence[key] for key in ("error_code", "reason", "hold_until") if key in evidence}
    return _canonical([evidence["status"], rest])


def _weight(value: Any) -> tuple[int, bytes]:
    """Of two values of one attempt the heavier is kept: of prices the one said last, since Meta charges on delivery."""
    said_with = value.get("said_with") if isinstance(value, dict) else None
    return EFFECT_RANK.get(said_with, -1) if isinstance(said_with, str) else -1, _canonical(value)


def _sortable(at: datetime) -> str:
    """UTC in one fixed width, so that the order of the texts is the order of the times."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _joined_facts(facts: dict[str, str], data: dict[str, Any]) -> dict[str, str]:
    new = {key: str(data[key]) for key in FACTS if key in data}
    return dict(sorted({**facts, **{key: max(value, facts.get(key, value)) for key, value in new.items()}}.items()))


def _shown(attempts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The message's own status: the best attempt that reached the person, else the newest, unless that one ended
    without effect while an older one stands at submitted or sent: then the older."""
    numbered = [(int(number), entry) for number, entry in attempts.items()]
    reached = [pair for pair in numbered if pair[1]["status"] in REACHED]
    if reached:
        number, entry = max(reached, key=lambda pair: (pair[1]["rank"], pair[0]))
    else:
        number, entry = max(numbered, key=lambda pair: pair[0])
        standing = [pair for pair in numbered if pair[1]["status"] in ("submitted", "sent")]
        if entry["status"] in ENDS_WITHOUT_EFFECT and standing:
            number, entry = max(standing, key=lambda pair: pair[0])
    first_seen: dict[str, str] = {}
    for _, each in numbered:
        for status, at in each["seen"].items():
            first_seen[status] = min(first_seen.get(status, at), at)
    shown = {"status": entry["status"], "attempt": number, "at": entry["at"]}
    shown |= {key: entry[key] for key in ("wamid", "phone_number_id", "error_code", "reason") if key in entry}
    return {
        **shown,
        "first_seen": dict(sorted(first_seen.items())),
        "duplicate": len(reached) > 1,
        "anomalies": _anomalies(numbered),
        "billing": _billing(numbered),
    }


def _billing(numbered: list[tuple[int, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """What Meta charged, once per wamid: a price is owed on delivery (Meta, pricing), and `sent` only foretells it."""
    return {
        entry["wamid"]: {key: value for key, value in entry["pricing"].items() if key != "said_with"}
        for _, entry in numbered
        if "wamid" in entry and "pricing" in entry and REACHED & entry["seen"].keys()
    }


def _anomalies(numbered: list[tuple[int, dict[str, Any]]]) -> list[str]:
    found = set()
    for _, entry in numbered:
        if "failed" in entry["seen"] and REACHED & entry["seen"].keys():
            found.add("failed_after_delivered")
    return sorted(found)
