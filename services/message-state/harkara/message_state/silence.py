"""When nothing is heard of a message that Meta accepted: what is noticed, when, and what explains it. Pure.

Two marks, each once an attempt, neither changes the message's status. `silent`: no status at all came within the time
of governance.yaml. `presumed_dropped`: its time to live at Meta has passed without `delivered` (Meta, time-to-live:
assume then that it was dropped). Both carry the time at which they became true, so a mark that is written again is
the same event. Meta has no history to ask (cloud-api 2): a status that was lost stays lost, so it is explained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from harkara.contracts.event import Reason, event_id
from harkara.contracts.lifecycle import EFFECT_RANK, REACHED, MarkStatus, MessageLifecycle, State
from harkara.policy.sections import Silence

TOLD_BY_META = frozenset(EFFECT_RANK) - {"submitted"}
SILENT: MarkStatus = "silent"
DROPPED: MarkStatus = "presumed_dropped"

WHY: dict[str, str] = {
    "webhooks_unread": "Webhooks of Meta's have come and are not read: the normaliser stands still or is far behind.",
    "number_halted": "The number is halted or paused; Meta may hold back what it had accepted.",
    "provider_incident": "No status arrives for any of the numbers that wait for one: Meta or our webhook is down.",
    "webhook_silence": "No status of any message of this number has arrived since then.",
    "status_missing": "Statuses of this number's other messages arrive: this one's was lost, or Meta holds it.",
    "ttl_passed": "Its time to live at Meta has passed without a delivery.",
}


@dataclass(frozen=True, slots=True)
class Watched:
    """An attempt that Meta accepted and of which more is expected. `due` maps each mark to when it becomes true."""

    attempt: int
    phone_number_id: str
    since: datetime
    due: Mapping[MarkStatus, datetime]


def watched(state: State, rules: Silence) -> Watched | None:
    """The attempt that the message stands at, where more is expected of it and it is not marked already."""
    if state["status"] not in ("submitted", "sent"):
        return None
    entry = state["attempts"][str(state["attempt"])]
    seen = entry["seen"]
    times = [datetime.fromisoformat(seen[each]) for each in ("submitted", "sent") if each in seen]
    if not times or REACHED & seen.keys():
        return None
    due: dict[MarkStatus, datetime] = {}
    if SILENT not in seen and not TOLD_BY_META & seen.keys():
        due[SILENT] = min(times) + timedelta(minutes=rules.status_minutes)
    if DROPPED not in seen:
        due[DROPPED] = min(times) + timedelta(minutes=rules.time_to_live(state["facts"].get("category")))
    number = str(entry.get("phone_number_id", ""))
    return Watched(state["attempt"], number, min(times), due) if due else None


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark that is due, and the id under which it is written however often."""

    id: str
    event: MessageLifecycle


def mark(state: State, found: Watched, status: MarkStatus, code: str) -> Mark:
    """The mark as an event of the message, with what explains it."""
    entry = state["attempts"][str(found.attempt)]
    event = MessageLifecycle(
        message_id=state["message_id"],
        home=state["home"],
        status=status,
        attempt=found.attempt,
        at=found.due[status],
        phone_number_id=entry.get("phone_number_id"),
        wamid=entry.get("wamid"),
        reason=Reason(code=code, text=WHY[code]),
    )
    return Mark(event_id("mark", state["message_id"], found.attempt, status), event)


def silent_for(since: datetime, heard: datetime | None, now: datetime) -> float:
    """Seconds for which a number has been silent whose oldest message without a status was accepted at `since`."""
    return max(0.0, (now - max(since, heard or since)).total_seconds())


def explanation(
    number: str, silent: frozenset[str], waiting: frozenset[str], halted: bool, unread: bool = False
) -> str:
    """Why nothing is heard of a message of the number, as far as it can be known here.

    `waiting`: the numbers of which some message waits for its first status; `silent`: those of them of which no status
    of any message has come for the time that counts as silence. `unread`: what Meta says of it may be here and wait for
    us.
    """
    if unread:
        return "webhooks_unread"
    if halted:
        return "number_halted"
    if number in silent:
        return "provider_incident" if len(waiting) > 1 and silent >= waiting else "webhook_silence"
    return "status_missing"
