"""The lane's decisions: what an order, a command, an echo, a clock tick or an open slot leads to.

Every decision is written by a Scribe: an entry for the journal, applied to the state at once, so that the next
decision sees it. Nothing here has an effect; the shell commits the entries and only then makes the calls that the
`attempting` ones stand for. A failed commit throws the state away and reads the journal again.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from harkara.contracts.commands import SendCommand
from harkara.dispatcher import journal
from harkara.dispatcher.evolve import seconds, unplace, wake_number
from harkara.dispatcher.horizon import HORIZON_SECONDS, fingerprint
from harkara.dispatcher.plan import Go, Over, Surroundings, Wait, is_cancelled, number_obstacle, over, way_of
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import DOUBTFUL, Message, NumberLane

ROUND = 500  # decisions of one kind per round: a round stays under about 20 ms, so no number waits for another's flood
RESEND_MARGIN_SECONDS = 2.0  # beyond lease and request timeout: a call of an older owner has surely ended
CHANNEL_FRESH_SECONDS = 60.0  # a status processed this recently shows that echoes would reach us
RECOVERY_GRACE_SECONDS = 10.0  # echoes that came while nobody owned the lane are read within this time


def take_order(scribe: Scribe, order: dict[str, Any], trace: str | None) -> None:
    """A DispatchOrder's validated JSON: new, a repeat (nothing happens), or the same id with another intent."""
    state, message_id = scribe.state, order["message_id"]
    live = state.messages.get(message_id)
    ended = None if live is not None else state.horizon.find(message_id)
    if live is None and ended is None:
        later = order.get("not_before") is not None and seconds(order["not_before"]) > scribe.now
        data = {"order": order, "status": "scheduled" if later else "queued", "trace": trace}
        scribe.write(message_id, "order", order["home"], data)
        return
    same = (
        live.intent_hash == order["intent_hash"]
        if live is not None
        else ended is not None and ended.fingerprint == fingerprint(order["intent_hash"])
    )
    if not same:
        data = {"run_id": order.get("run_id"), "trace": trace}
        scribe.write(journal.conflict_key(message_id), "conflict", order["home"], data)


def take_command(scribe: Scribe, around: Surroundings, command: SendCommand) -> None:
    """A cancel is remembered whether it matches or not; a resolution settles a message in doubt, once."""
    at = command.at.timestamp()
    if command.kind != "resolve_in_doubt":
        if scribe.state.cancels.get((command.kind, command.target), 0.0) < at:
            data = {"at": at, "actor": command.actor, "command_id": command.command_id, "note": command.note}
            scribe.write(journal.cancel_key(command.kind, command.target), "cancel", command.home, data)
        return
    key = journal.command_key(command.command_id)
    if key in scribe.state.commands:
        return
    message = scribe.state.messages.get(command.target)
    applies = message is not None and message.status in DOUBTFUL and command.resolution is not None
    data = {
        "target": command.target,
        "resolution": command.resolution,
        "applied": applies,
        "actor": command.actor,
        "note": command.note,
    }
    scribe.write(key, "resolved", command.home, data)
    if message is not None and applies:
        _resolve(scribe, around, message, command)


def _resolve(scribe: Scribe, around: Surroundings, message: Message, command: SendCommand) -> None:
    if command.resolution == "sent":
        scribe.end(message, "submitted", message.attempt, wamid=command.wamid, reason="resolved_by_operator")
    elif command.resolution == "drop":
        scribe.end(message, "unknown", message.attempt, reason="dropped_by_operator")
    else:
        again_at = message.called_at + _quarantine_seconds(around)
        if again_at > scribe.now:
            scribe.step(message, "retrying", resent=True, until=again_at, reason="resend_granted")
        else:
            scribe.step(message, "queued", resent=True, reason="resend_granted")


def take_echo(scribe: Scribe, message_id: str, attempt: int, wamid: str | None, number: str | None, at: float) -> None:
    """A status of Meta names one of our attempts: Meta has the message, whatever we knew of that attempt.

    While a newer attempt's call is under way its outcome is awaited; both are then seen by the message's state.
    """
    if number is not None:
        lane = scribe.state.number(number)
        lane.status_at, lane.status_seen_at = max(lane.status_at, at), scribe.now
    message = scribe.state.messages.get(message_id)
    if message is None or not 1 <= attempt <= message.attempt:
        return
    if message.status == "attempting" and attempt < message.attempt:
        return
    withdrawn = None  # the newer attempt, which will not be made, or whose fate nobody waits for any more
    if message.waiting:
        withdrawn = [message.attempt + 1, "cancelled"]
    elif attempt < message.attempt:
        withdrawn = [message.attempt, "unknown"]
    scribe.end(
        message,
        "submitted",
        attempt,
        wamid=wamid,
        number=number or message.number,
        reason="seen_in_status",
        withdrawn=withdrawn,
    )


def tick(scribe: Scribe, around: Surroundings) -> None:
    """What is due by the clock, and what may be forgotten; at most ROUND of each."""
    state, now = scribe.state, scribe.now
    for message_id in list(state.timers.take_due(now, ROUND)):
        message = state.messages.get(message_id)
        if message is not None:
            message.due = None
            _wake(scribe, around, message)
    for scope_target, hold in list(state.holds.items()):  # a handful: numbers and pairs that pause now
        if hold.until is not None and hold.until <= now:
            scribe.erase(journal.hold_key(*scope_target))
    for message_id in list(state.horizon.forget_old(now, ROUND)):
        scribe.erase(message_id)
        scribe.erase(journal.step_key(message_id))
    for key in [key for key, at in islice(state.papers.items(), ROUND) if at + HORIZON_SECONDS <= now]:
        del state.papers[key]
        scribe.erase(key)


def _wake(scribe: Scribe, around: Surroundings, message: Message) -> None:
    if message.status == "in_doubt":
        _doubt_is_over(scribe, around, message)
    elif message.status == "unknown":
        scribe.end(message, "unknown", message.attempt, reason="nobody_resolved_it")
    elif message.status == "scheduled" and scribe.now < message.expires_at:
        scribe.step(message, "queued")
    elif scribe.now >= message.expires_at:
        scribe.end(message, "expired", message.attempt + 1, reason="expired")
    elif message.status == "retrying":
        scribe.state.ready(message)
    else:
        scribe.state.unplaced.append(message.message_id)


def _doubt_is_over(scribe: Scribe, around: Surroundings, message: Message) -> None:
    """No echo came in time: the category's policy. Marketing and service are never sent again by the clock."""
    may = message.category == "authentication" or (message.category == "utility" and message.duplicate_ok)
    life = scribe.now < message.expires_at and message.spent < around.policy.max_attempts
    quiet = scribe.now >= message.called_at + _quarantine_seconds(around)
    unwanted = is_cancelled(scribe.state, message)
    if may and life and quiet and not message.resent and not unwanted and _channel_healthy(scribe, around, message):
        scribe.step(message, "queued", resent=True, reason="resend_granted")
    else:
        scribe.step(message, "unknown", reason="no_echo")


def _channel_healthy(scribe: Scribe, around: Surroundings, message: Message) -> bool:
    """A status of the same account, newer than the attempt, was processed a short time ago: an echo would have come."""
    own = around.fleet.get(message.number or "")
    for facts in around.fleet.values() if own is not None else ():
        lane = scribe.state.numbers.get(facts.phone_number_id)
        if lane is not None and own is not None and facts.waba_id == own.waba_id:
            seen_lately = lane.status_seen_at >= scribe.now - CHANNEL_FRESH_SECONDS
            if lane.status_at > message.called_at and seen_lately:
                return True
    return False


def _quarantine_seconds(around: Surroundings) -> float:
    return around.policy.lease_seconds + around.policy.request_timeout_seconds + RESEND_MARGIN_SECONDS


def place_waiting(scribe: Scribe, around: Surroundings) -> None:
    """Give up to ROUND messages that stand nowhere a queue, a hold or an end."""
    for _ in range(min(ROUND, len(scribe.state.unplaced))):
        message = scribe.state.messages.get(scribe.state.unplaced.popleft())
        if message is not None and message.waiting:
            place(scribe, around, message)


def place(scribe: Scribe, around: Surroundings, message: Message) -> None:
    """One waiting message: into the queue of the first healthy candidate's number, else held, else ended."""
    if message.status in ("scheduled", "retrying") and message.until is not None and message.until > scribe.now:
        ended = over(scribe.state, around, message, scribe.now)
        if ended is not None:
            scribe.end(message, ended.status, message.attempt + 1, reason=ended.reason)
        return
    way = way_of(scribe.state, around, message, scribe.now)
    if isinstance(way, Over):
        scribe.end(message, way.status, message.attempt + 1, reason=way.reason)
    elif isinstance(way, Wait):
        if message.status != "held" or message.reason != way.reason or message.until != way.until:
            scribe.step(message, "held", reason=way.reason, until=way.until)
        else:
            scribe.state.index(message)
    else:
        if message.status in ("held", "scheduled"):
            scribe.step(message, "queued")
        scribe.state.place(message, way.candidate.number)


def start_calls(scribe: Scribe, around: Surroundings) -> list[Message]:
    """Journal the attempts that may start now, each number at its own pace; returns their messages.

    The shell asks only while the replicas are fresh.
    """
    started: list[Message] = []
    for lane in list(scribe.state.numbers.values()):
        facts = around.fleet.get(lane.phone_number_id)
        if facts is None or lane.peek() is None:
            continue
        if number_obstacle(scribe.state, around, lane.phone_number_id, scribe.now) is not None:
            continue
        while len(started) < ROUND and _next_call(scribe, around, lane, facts.capacity, started):
            pass
    return started


def _next_call(scribe: Scribe, around: Surroundings, lane: NumberLane, capacity: int, started: list[Message]) -> bool:
    """Whether the number's next message was dealt with and another may be looked at."""
    message_id = lane.peek()
    if message_id is None:
        return False
    message = scribe.state.messages.get(message_id)
    if message is None or message.placed != lane.phone_number_id or not message.waiting:
        lane.pop()
        return True
    if lane.pace.next_at() > scribe.now or scribe.state.tally(lane.phone_number_id, "attempting") >= capacity:
        return False
    lane.pop()
    message.placed = None
    way = way_of(scribe.state, around, message, scribe.now)
    if not isinstance(way, Go) or way.candidate.number != lane.phone_number_id:
        place(scribe, around, message)
        return True
    scribe.step(
        message,
        "attempting",
        attempt=message.attempt + 1,
        number=way.candidate.number,
        form=way.candidate.form,
        called_at=scribe.now,
        template=message.template_key if way.candidate.form == "template" else None,
    )
    started.append(message)
    return True


def number_changed(scribe: Scribe, around: Surroundings, number: str) -> None:
    """The number's state or token is another one: release a halt that a newer word ends, move or wake its messages."""
    hold, state = scribe.state.holds.get(("number", number)), around.states.get(number)
    halted = hold is not None and hold.until is None
    if halted and hold is not None and state is not None and state.verdict == "open":
        newer = state.version > hold.version and state.updated_at.timestamp() > hold.at
        if newer:
            scribe.erase(journal.hold_key("number", number))
    scribe.state.number(number)
    scribe.state.touched.add(number)
    unplace(scribe.state, number)  # what may still go by this number comes back to its own place
    wake_number(scribe.state, number)


def recover(scribe: Scribe, around: Surroundings) -> None:
    """After the journal was read: attempts without an outcome are in doubt, everything else finds its place."""
    state = scribe.state
    state.replaying = False
    for message in sorted(state.messages.values(), key=lambda each: each.seq):
        if message.status == "attempting":
            doubt(scribe, around, message, "owner_lost")
            continue
        if message.status in DOUBTFUL and message.until is not None:
            message.until = max(message.until, scribe.now + RECOVERY_GRACE_SECONDS)
        state.index(message)
        if message.status == "held":
            state.unplaced.append(message.message_id)


def doubt(scribe: Scribe, around: Surroundings, message: Message, reason: str, **facts: Any) -> None:
    """Meta may have the attempt: nothing more of this message until an echo, the category's time or an operator."""
    longest = around.policy.in_doubt_timeout_seconds.get(message.category, 60.0)
    until = max(message.called_at + longest, scribe.now + min(longest, RECOVERY_GRACE_SECONDS))
    spent = message.spent + 1
    scribe.step(message, "in_doubt", until=until, reason=reason, spent=spent, **facts)
