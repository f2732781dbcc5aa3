"""The other content of a message, where the first was not delivered (RTW-7): watched for, decided on, begun once.

It goes where Meta says of the first that it failed, in a status or in the answer, for a reason that another content can
mend (`graph_api.errors`); and where the intent takes it that the person may get both, when nothing was delivered in the
time it names. Never once anything was delivered, never while an attempt's fate is unknown, never after the message's
life. It is the same message's next attempt, so everything that is asked of an attempt is asked of it: consent, cancels,
hours, the window, the template, the number, the pace; and the lane takes its order in as one that goes on.
"""

from __future__ import annotations

from math import floor
from typing import Any

from harkara.dispatcher import journal
from harkara.dispatcher.orders import order_of
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import LaneState, Message, Seen
from harkara.dispatcher.watch import Watch
from harkara.graph_api.errors import ErrorPolicy, policy_for

STARTED, NOT_WATCHED = "fallback_content", "fallback_not_watched"
QUIET_LOOK_SECONDS = 60.0  # while no status of its account comes: whether one does is known within a minute
DUE_PER_ROUND = 500  # as many as a round decides of anything else


def end_accepted(scribe: Scribe, message: Message, **facts: Any) -> None:
    """The newest attempt is with Meta, as its answer or an operator says. A text keeps its order for a while where a
    template could follow: Meta may yet find the service window closed, and says so by a status (131047)."""
    if message.can_reroute:
        facts |= {"order": order_of(message), "spent": message.spent}
    end_submitted(scribe, message, message.attempt, **facts)


def end_submitted(scribe: Scribe, message: Message, attempt: int, *, reached: bool = False, **facts: Any) -> None:
    """The message ends as submitted by this attempt, and is watched from then on where it has a fallback that may be
    wanted: it was not `reached` already, and no other attempt of it may be with Meta."""
    watched = message.traits.falls_back and not reached and _may_fall_back(message, attempt)
    watched = watched and scribe.now < message.expires_at
    order = order_of(message) if watched else {}
    if watched and scribe.state.watches.full:
        watched = False
        facts = {"reason": NOT_WATCHED, "details": {"fallback": NOT_WATCHED}, "unwatched": True} | facts
    scribe.end(message, "submitted", attempt, **facts)
    if not watched:
        return
    wait = order["fallback"].get("after_seconds") if message.duplicate_ok else None
    data = {
        "order": order,
        "attempt": attempt,
        "number": facts.get("number") or message.number or "",
        "until": message.expires_at,
        "after": None if wait is None else scribe.now + wait,
        "resent": message.resent or None,
        "trace": message.trace,
    }
    kept = {name: value for name, value in data.items() if value is not None}
    scribe.write(journal.watch_key(message.message_id), "watch", message.home, kept)


def _may_fall_back(message: Message, attempt: int) -> bool:
    """An older attempt of unknown fate may have reached the person: then only where they may get it twice."""
    doubtful = message.resent or (message.seen is not None and message.seen.attempt != attempt)
    return attempt == message.attempt and (message.duplicate_ok or not doubtful)


def follow(scribe: Scribe, message_id: str, seen: Seen, failed_code: int | None, *, reached: bool) -> None:
    """A status of Meta names an attempt of a message that has ended: what it says to its watch."""
    watch = scribe.state.watches.find(message_id)
    if watch is None or seen.attempt > watch.attempt:
        return
    lives = message_id in scribe.state.messages  # the status made it go on as its template, which is watched anew
    if lives or reached:
        scribe.erase(journal.watch_key(message_id))
    elif failed_code is not None and seen.attempt == watch.attempt:
        scribe.erase(journal.watch_key(message_id))
        order, policy = watch.order, policy_for(failed_code)
        if scribe.now < watch.until and mends(policy, order["fallback"]):
            _begin(scribe, order, watch.attempt, watch.trace, because(watch.attempt, policy), resent=watch.resent)


def refused_for_good(scribe: Scribe, message: Message, policy: ErrorPolicy, facts: dict[str, Any]) -> bool:
    """Meta's answer refused the newest attempt for good: whether the fallback goes in its place. The attempt's failure
    is told as any other (`facts`: what its end says), but its order is not dead."""
    if not message.traits.falls_back or not _may_fall_back(message, message.attempt):
        return False
    order = order_of(message)
    if scribe.now >= message.expires_at or not mends(policy, order["fallback"]):
        return False
    attempt, trace, resent = message.attempt, message.trace, message.resent
    scribe.end(message, "failed_unsent", attempt, **facts)
    _begin(scribe, order, attempt, trace, because(attempt, policy), resent=resent)
    return True


def mends(policy: ErrorPolicy, fallback: dict[str, Any]) -> bool:
    """Whether this fallback (the JSON of a FallbackPlan) can mend what Meta said."""
    match policy.other_content:
        case "yes":
            return True
        case "template":
            return any(candidate["form"] == "template" for candidate in fallback["plan"])
        case "if_asked":
            return bool(fallback.get("if_undeliverable"))
    return False


def tick_watches(scribe: Scribe) -> None:
    """Watches whose time is over, and fallbacks that go because nothing was delivered. Those wait while no status of
    the account has come since: an edge that is down must not send everything twice."""
    watches, now = scribe.state.watches, scribe.now
    for watch in list(watches.timers.take_due(now, DUE_PER_ROUND)):
        if watches.find(watch.message_id) is not watch:
            continue
        if now >= watch.until:
            scribe.erase(journal.watch_key(watch.message_id))
        elif watch.after is None or now < watch.after:
            watches.put_off(watch, watch.until if watch.after is None else watch.after)
        elif not _heard_since(scribe.state, watch):
            watches.put_off(watch, now + QUIET_LOOK_SECONDS)
        else:
            scribe.erase(journal.watch_key(watch.message_id))
            order = watch.order
            _begin(scribe, order, watch.attempt, watch.trace, late(watch.attempt, order["fallback"]), resent=True)


def _heard_since(state: LaneState, watch: Watch) -> bool:
    """Whether a status of the number's account has been read that is not older than the sending. Meta writes whole
    seconds, so one of the same second counts."""
    return state.channel(watch.number).status_at >= floor(watch.since)


def reached_nobody(state: LaneState, message_id: str, seen: Seen, *, reached: bool) -> bool:
    """Whether a status (or late answer) of an attempt that another one stands in for says nothing new: that Meta has
    it is known, and only a delivery makes it a second one. `message_id` has ended."""
    taken = state.taken.get(message_id)
    return taken is not None and seen.attempt in (taken.instead_of, taken.refused) and not reached


def because(attempt: int, policy: ErrorPolicy) -> dict[str, str]:
    """Why a fallback goes, for its reason's details and text."""
    code = str(policy.code)
    text = f"Attempt {attempt + 1}: the fallback content, because Meta did not deliver attempt {attempt}: "
    return {"because": code, "instead_of": str(attempt), "text": f"{text}{code} ({policy.name})."}


def late(attempt: int, fallback: dict[str, Any]) -> dict[str, str]:
    """As `because`, where nothing was said in time."""
    after = str(fallback["after_seconds"])
    why = f"attempt {attempt} was not delivered in {after} seconds"
    text = f"Attempt {attempt + 1}: the fallback content, because {why}."
    return {"because": "not_delivered", "instead_of": str(attempt), "after_seconds": after, "text": text}


def _begin(
    scribe: Scribe, order: dict[str, Any], attempt: int, trace: str | None, why: dict[str, str], *, resent: bool
) -> None:
    """The order goes on with its other content, which has none of its own; its tries are counted anew. Whoever takes
    the lane finds the order as it is now."""
    fallback = order["fallback"]
    content = {name: fallback[name] for name in ("session", "template") if fallback.get(name) is not None}
    kept = {name: value for name, value in order.items() if name not in ("session", "template", "fallback")}
    goes_on = kept | content | {"plan": fallback["plan"], "instead_of": attempt}
    text, taken = why.pop("text"), scribe.state.taken.get(order["message_id"])
    refused = {} if taken is None or not taken.refused else {"refused": taken.refused}
    data = {
        "order": goes_on,
        "status": "queued",
        "again": {"attempt": attempt, "spent": 0, "resent": resent} | refused,
        "reason": STARTED,
        "text": text,
        "details": why,
        "trace": trace,
    }
    scribe.write(order["message_id"], "order", order["home"], data)
