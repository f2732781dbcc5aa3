"""The lane's decisions: what an order, a clock tick or an open slot leads to (a command: `commands`, a status:
`evidence`, an answer: `settle`).

Every decision is written by a Scribe: an entry for the journal, applied to the state at once, so that the next
decision sees it. Nothing here has an effect; the shell commits the entries and only then makes the calls that the
`attempting` ones stand for. A failed commit throws the state away and reads the journal again.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from harkara.dispatcher import causes, journal
from harkara.dispatcher.contacts import one_too_many
from harkara.dispatcher.doubt import RECOVERY_GRACE_SECONDS, doubt, doubt_is_over, waits_for_old
from harkara.dispatcher.evidence import FALLBACK_KEPT_SECONDS
from harkara.dispatcher.evolve import unplace, wake_number
from harkara.dispatcher.fallback import tick_watches
from harkara.dispatcher.horizon import HORIZON_SECONDS, fingerprint
from harkara.dispatcher.orders import order_of, seconds
from harkara.dispatcher.plan import (
    Go,
    Over,
    Surroundings,
    Wait,
    calls_allowed,
    decided,
    number_obstacle,
    over,
    told_of,
    way_of,
)
from harkara.dispatcher.probes import end_approved, end_holds, note_probe, wake_account
from harkara.dispatcher.rebase import SET_BACK_SECONDS
from harkara.dispatcher.rehearse import rehearse
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.spending import take_place, tend, write_drafts
from harkara.dispatcher.state import DOUBTFUL, LaneState, Message, NumberLane
from harkara.dispatcher.typing_shown import types_first

REHEARSED_LATER_SECONDS = 0.5  # a dry run that came while the replicas are read
ROUND = 500  # decisions of one kind per round: a round stays under about 20 ms, so no number waits for another's flood


def take_order(scribe: Scribe, order: dict[str, Any], trace: str | None) -> None:
    """A DispatchOrder's validated JSON: new, a repeat (nothing happens), the same id with another intent, or a redrive
    of one that failed."""
    state, message_id = scribe.state, order["message_id"]
    live = state.messages.get(message_id)
    ended = None if live is not None else state.horizon.find(message_id)
    if live is None and ended is None:
        later = order.get("not_before") is not None and seconds(order["not_before"]) > scribe.now
        later = later and not order.get("dry_run")  # what it would do then is worked out now
        data = {"order": order, "status": "scheduled" if later else "queued", "trace": trace}
        scribe.write(message_id, "order", order["home"], data)
        return
    same = (
        live.intent_hash == order["intent_hash"]
        if live is not None
        else ended is not None and ended.fingerprint == fingerprint(order["intent_hash"])
    )
    if ended is not None and same and (ended.status, ended.attempt) == ("failed_unsent", order.get("redrive")):
        data = {
            "order": order,
            "status": "queued",
            "again": {"attempt": ended.attempt, "spent": 0},
            "reason": "redriven",
            "trace": trace,
        }
        scribe.write(message_id, "order", order["home"], data)
    elif not same:
        why = causes.decided(order["policy_version"], causes.conflict(lives=live is not None))
        data = {"run_id": order.get("run_id"), "trace": trace} | why
        scribe.write(journal.conflict_key(message_id), "conflict", order["home"], data)


def tick(scribe: Scribe, around: Surroundings) -> None:
    """What is due by the clock, and what may be forgotten; at most ROUND of each."""
    state, now = scribe.state, scribe.now
    state.weights, state.recent.rules = around.policy.weights, around.policy.contacts
    for message in list(state.timers.take_due(now, ROUND)):
        if state.messages.get(message.message_id) is message:
            _wake(scribe, around, message)
    end_holds(scribe, around)
    for message_id in list(state.horizon.forget_old(now, ROUND)):
        scribe.erase(message_id)
        scribe.erase(journal.step_key(message_id))
    state.recent.forget_old(now, ROUND)
    tick_watches(scribe)
    if state.places.active:
        tend(scribe, around)
    while state.fallbacks and next(iter(state.fallbacks.values())).at + FALLBACK_KEPT_SECONDS <= now:
        del state.fallbacks[next(iter(state.fallbacks))]
    for key in [key for key, at in islice(state.papers.items(), ROUND) if at + HORIZON_SECONDS <= now]:
        if _still_pauses(state, key):
            state.remember(key, now)
            continue
        del state.papers[key]
        scribe.erase(key)


def _still_pauses(state: LaneState, key: str) -> bool:
    """Whether it is the word that keeps a run paused of which something waits: forgotten, the run would go on."""
    kind, _, run_id = key.partition("/")
    word = state.pauses.get(run_id) if kind == "pause" else None
    return word is not None and word.paused and run_id in state.runs


def _wake(scribe: Scribe, around: Surroundings, message: Message) -> None:
    if message.status in DOUBTFUL and waits_for_old(scribe, message):
        return
    if message.status == "in_doubt":
        doubt_is_over(scribe, around, message)
    elif message.status == "unknown":
        why = causes.decided(around.policy.version, causes.unresolved(message.until or scribe.now))
        scribe.end(message, "unknown", message.open_attempt, reason="nobody_resolved_it", **why)
    elif message.status == "scheduled" and scribe.now < message.expires_at:
        scribe.step(message, "queued")
    elif scribe.now >= message.expires_at:
        why = causes.decided(around.policy.version, causes.life(message))
        scribe.end(message, "expired", message.attempt + 1, reason="expired", **why)
    elif message.status == "retrying":
        scribe.state.ready(message)
    else:
        scribe.state.unplaced.add(message)


def place_waiting(scribe: Scribe, around: Surroundings) -> None:
    """Give up to ROUND messages that stand nowhere a queue, a hold or an end."""
    state = scribe.state
    for _ in range(min(ROUND, len(state.unplaced))):
        message = state.unplaced.take()
        if message.waiting and state.messages.get(message.message_id) is message:
            place(scribe, around, message)


def place(scribe: Scribe, around: Surroundings, message: Message) -> None:
    """One waiting message: into the queue of the first healthy candidate's number, else held, else ended."""
    if message.traits.dry_run:
        if around.fresh():  # what it says is final, and no last gate asks again
            rehearse(scribe, around, message)
        else:
            scribe.state.put_off(message, scribe.now + REHEARSED_LATER_SECONDS)
        return
    if message.status in ("scheduled", "retrying") and message.until is not None and message.until > scribe.now:
        ended = over(scribe.state, around, message, scribe.now)
        if ended is not None:
            why = decided(around, message, ended)
            scribe.end(message, ended.status, message.attempt + 1, reason=ended.reason, **why)
        return
    way = way_of(scribe.state, around, message, scribe.now)
    if isinstance(way, Go):
        if message.status in ("held", "scheduled"):
            scribe.step(message, "queued")
        if message.placed != way.candidate.number:  # one that stands there already may have had its minute
            scribe.state.place(message, way.candidate.number)
            note_probe(scribe.state, around, message, way, scribe.now)
    elif isinstance(way, Over) and way.status == "unknown":
        scribe.step(message, "unknown", reason=way.reason, **decided(around, message, way))
    elif isinstance(way, Over):
        order = order_of(message) if way.status == "failed_unsent" else None  # for the DLQ
        why = decided(around, message, way)
        scribe.end(message, way.status, message.attempt + 1, reason=way.reason, order=order, **why)
    else:
        _keep(scribe, around, message, way)


def _keep(scribe: Scribe, around: Surroundings, message: Message, way: Wait) -> None:
    """Held, of which nobody is told again who knows it already."""
    if message.status == "held" and message.reason == way.reason and _same_time(message.until, way.until):
        message.until = way.until
        scribe.state.index(message)
        return
    why = told_of(around, message, way) | decided(around, message, way)
    scribe.step(message, "held", reason=way.reason, until=way.until, **why)


def _same_time(told: float | None, until: float | None) -> bool:
    """Whether nobody need be told of the other one: a small step of the clock moves the times of all that is held."""
    if told is None or until is None:
        return told is until
    return abs(until - told) < SET_BACK_SECONDS


def start_calls(scribe: Scribe, around: Surroundings) -> list[Message]:
    """Journal the attempts that may start now or in a moment (`called_at`), each number at its own pace; returns their
    messages.

    The shell asks only while the replicas are fresh. Of a thousand numbers only those are looked at that have
    something to send and may send it.
    """
    state, started = scribe.state, list[Message]()
    for number in sorted(number for number, look_at in state.busy.items() if look_at <= scribe.now):
        facts, lane = around.fleet.get(number), state.number(number)
        if facts is None:
            continue
        if number_obstacle(state, around, number, scribe.now) is not None:
            continue
        state.wake_sleepers(lane, scribe.now)
        allowed = calls_allowed(state, facts)
        for _ in range(ROUND):
            if len(started) >= ROUND or not lane.listed or not _next_call(scribe, around, lane, allowed, started):
                break
        state.looked_at(lane, scribe.now)
    if scribe.drafts:
        write_drafts(scribe)
    return started


def _next_call(scribe: Scribe, around: Surroundings, lane: NumberLane, capacity: int, started: list[Message]) -> bool:
    """Whether the number's next message was dealt with and another may be looked at."""
    state = scribe.state
    if state.tally(lane.phone_number_id, "attempting") >= capacity:
        return False
    message = lane.next(scribe.now)
    if message is None:
        return False
    if not state.is_its_turn(message):
        lane.unlist(message)
        return True
    pair_free_at = lane.pairs.next_at(message.line)
    if pair_free_at > scribe.now:
        lane.sleep(message, pair_free_at)
        return True
    way = way_of(state, around, message, scribe.now)
    if not isinstance(way, Go) or way.candidate.number != lane.phone_number_id:
        state.leave_queue(message)
        place(scribe, around, message)
        return True
    if one_too_many(scribe, around, message, way):
        return True
    facts = around.fleet[lane.phone_number_id]
    if facts.limited and way.candidate.form == "template" and not take_place(scribe, around, message, facts):
        return False  # the ledger is asked; until it answers the queue stands, and then what has no place is held
    types = types_first(scribe, lane, message, way.candidate)
    if types is not None:
        return types
    note_probe(state, around, message, way, scribe.now)
    lane.take(message)
    message.placed = None
    called_at = max(scribe.now, lane.pace.next_at(message.traits.media))
    scribe.attempt(message, way.candidate, called_at, way.template)
    started.append(message)
    return True


def number_changed(scribe: Scribe, around: Surroundings, number: str) -> None:
    """The number's state or token is another one: release a hold that an operator ended, move or wake its messages.

    Only a resume that is younger than the hold ends it: a state that was written before the halt was known to its
    writer (a health poll at the same moment) says `open` too.
    """
    _end_hold_of_number(scribe, around, number)
    scribe.state.number(number)
    scribe.state.touched.add(number)
    unplace(scribe.state, number)  # what may still go by this number comes back to its own place
    wake_number(scribe.state, number)


def _end_hold_of_number(scribe: Scribe, around: Surroundings, number: str) -> None:
    hold, state = scribe.state.holds.get(("number", number)), around.states.get(number)
    resumed_at = None if state is None or state.verdict == "halted" else state.resumed_at
    if hold is not None and resumed_at is not None and resumed_at.timestamp() > hold.at:
        scribe.erase(journal.hold_key("number", number))


def template_changed(scribe: Scribe, around: Surroundings, template: str) -> None:
    """More is known of a template (named as in its account): a hold that Meta's refusal made ends where it was approved
    later, and what waits by the account's numbers is looked at again."""
    end_approved(scribe, around, template)
    wake_account(scribe, around, template)


def recover(scribe: Scribe, around: Surroundings) -> None:
    """After the journal was read: attempts without an outcome are in doubt, everything else finds its place. A hold
    that was ended while nobody owned the lane ends now: that word will not be told again."""
    state = scribe.state
    if state.latest > scribe.now + SET_BACK_SECONDS:
        scribe.clock_set(scribe.now - state.latest)
    state.replaying = False
    state.weights, state.recent.rules = around.policy.weights, around.policy.contacts
    state.accounts = {number: facts.waba_id for number, facts in around.fleet.items()}
    for scope, target in list(state.holds):
        if scope == "number":
            _end_hold_of_number(scribe, around, target)
        elif scope == "template":
            end_approved(scribe, around, target)
    for message in sorted(state.messages.values(), key=lambda each: each.seq):
        if message.status == "attempting":
            doubt(scribe, around, message, "owner_lost")
            continue
        if message.status in DOUBTFUL and message.until is not None:
            message.until = max(message.until, scribe.now + RECOVERY_GRACE_SECONDS)
        state.index(message)
        if message.status == "held":
            state.unplaced.add(message)
