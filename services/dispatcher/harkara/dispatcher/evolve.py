"""What a journal entry does to a lane's state: used for every entry just decided and for every entry read back.

`evolve` never refuses and never decides. An entry of a kind that it does not know ends the recovery: a newer version
has written here, and guessing could send twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from harkara.dispatcher.counted import recall
from harkara.dispatcher.hold import IN_ASSESSMENT
from harkara.dispatcher.horizon import HORIZON_SECONDS
from harkara.dispatcher.journal import NOT_SENT, Entry, message_id_of
from harkara.dispatcher.message import Course
from harkara.dispatcher.orders import message_of, seconds
from harkara.dispatcher.plan import PATIENCE_SECONDS
from harkara.dispatcher.rebase import SET_BACK_SECONDS, rebase
from harkara.dispatcher.state import Fallback, Given, Hold, LaneState, Message, Paused, Seen, Taken
from harkara.policy.throttle import Cut

UNKNOWN_KEPT_SECONDS = HORIZON_SECONDS  # how long an operator may still resolve a message of unknown fate
SHALLOW = 20_000  # live messages of a lane, 4 MB: up to here an order is not packed, it goes out in some seconds
TEMPLATE_HOLD_SECONDS = 3600.0  # as long as a version that did not write it down meant
Change: TypeAlias = Callable[[LaneState, Entry, dict[str, Any]], None]
"""What an entry of one kind does."""
MOST_FALLBACKS = 20_000  # about 20 MB; beyond it the oldest text is not followed any more, as if its status had come


class UnknownKind(Exception):
    """The journal holds an entry that this version cannot read."""


def evolve(state: LaneState, entry: Entry, kinds: Mapping[str, Change] | None = None) -> LaneState:
    """Apply one entry; returns the same, changed state. `kinds`: what each kind does, where that is not what it does
    here (`replay.py`). Raises UnknownKind."""
    key, seq, kind, at, home, data = entry
    if data is None:
        _tombstone(state, entry)
        return state
    if seq > state.seq:
        state.seq = seq
    change = (kinds or KINDS).get(kind)
    if change is None:
        raise UnknownKind(kind)
    if at < state.latest - SET_BACK_SECONDS and kind != "clock":
        clock_stepped(state, at - state.latest, at)  # nobody wrote the step down: it was at least this
    change(state, entry, data)
    if at > state.latest:
        state.latest = at
    if "contact" in data:
        recall(state.recent, data["contact"], at, message_id_of(key), home)
    return state


def _order(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{order: a DispatchOrder's JSON, status: queued or scheduled, trace: traceparent or null, again: of a message
    that had ended and goes on: {attempt, spent, number, template_only, resent, refused}}"""
    take_in(state, entry, data, packed=len(state.messages) >= SHALLOW)


def take_in(state: LaneState, entry: Entry, data: dict[str, Any], *, packed: bool) -> None:
    """The live message of an `order`; `packed`: it may wait long."""
    message = message_of(data["order"], entry.seq, data.get("trace"), packed=packed)
    message.status = data["status"]
    if "again" in data:
        go_on(state, message.message_id)
        again = data["again"]
        message.attempt = again["attempt"]
        message.course = Course(
            spent=again["spent"],
            number=again.get("number"),
            template_only=again.get("template_only", False),
            resent=again.get("resent", False),
            refused=_refused(again, 0),
        )
    if message.status == "scheduled":
        message.until = seconds(data["order"]["not_before"])
    message.priority = state.priority_of(message)
    state.add(message)
    state.index(message)


def go_on(state: LaneState, message_id: str) -> None:
    """The message had ended and goes on."""
    state.horizon.discard(message_id)
    state.fallbacks.pop(message_id, None)  # of before: a status that comes again must not use it again


def _refused(said: dict[str, Any], known: int) -> int:
    """The text that Meta refused and a template stands in for. A version that did not write it down meant the newest
    attempt, until that was the template; then what was `known` stands."""
    text = said.get("template_only") and said.get("form") != "template"
    told: int = said.get("refused", said["attempt"] if text else known)
    return told


def _step(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """The message's whole changing state: status, attempt, spent, number, form, called_at, until, reason, ..."""
    message = state.messages.get(message_id_of(entry.key))
    if message is None:
        return
    _give_back(state, message, data)
    change_course(message, entry, data)
    state.leave_queue(message)
    if message.status == "attempting" and message.number is not None:
        note_call(state, message.number, message.line, message.called_at, media=message.media)
    state.index(message)


def change_course(message: Message, entry: Entry, data: dict[str, Any]) -> None:
    """What a `step` says of its message, and nothing beside it."""
    message.status = data["status"]
    message.attempt = data["attempt"]
    message.until = entry.at + UNKNOWN_KEPT_SECONDS if message.status == "unknown" else data.get("until")
    message.course = Course(
        data.get("spent", 0),
        data.get("number"),
        data.get("form"),
        data.get("called_at", 0.0),
        data.get("reason"),
        data.get("template_only", False),
        data.get("resent", False),
        data.get("swapped"),
        _refused(data, message.course.refused),
    )


def note_call(state: LaneState, number: str, line: str, called_at: float, *, media: bool) -> None:
    """An attempt counts in its number's windows and for its recipient."""
    lane = state.number(number)
    lane.pace.note(called_at, media)
    lane.pairs.note(line, called_at)


def _give_back(state: LaneState, message: Message, data: dict[str, Any]) -> None:
    """An attempt that surely never left takes no place in the number's windows: an outage must not use up a day."""
    never_left = data.get("reason", "").startswith(NOT_SENT) and data["attempt"] == message.attempt
    if never_left and message.number is not None and message.status != "queued":
        lane = state.number(message.number)
        lane.pace.forget(message.called_at, message.media)
        lane.pairs.forget(message.line)
        state.look_again(message.number)


def _throttle(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{rate: calls/s after the cut, until: Unix seconds before which none starts, row: cuts right before it}"""
    number = entry.key.partition("/")[2]
    state.number(number).pace.throttle(Cut(data["rate"], data["until"], data.get("row", 0)))
    state.touched.add(number)


def _end(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{status, attempt, hash, number, instead_of, refused, assessed: the template (as at its account) for which Meta
    holds it, ...what the lifecycle event says}"""
    message_id = entry.key
    message = state.messages.get(message_id)
    if message is not None:
        state.drop(message)
    template = data.get("template", "") if data.get("form") == "template" else ""
    state.horizon.add(message_id, entry.at, data["status"], data["attempt"], data["hash"], template)
    number, submitted = data.get("number"), data["status"] == "submitted"
    if data.get("resent") or "instead_of" in data or "refused" in data:
        attempts = (data["event_attempt"],) if submitted else ()
        state.taken[message_id] = Taken(entry.home, attempts, data.get("instead_of", 0), data.get("refused", 0))
    if not submitted:
        return
    if "assessed" in data:
        _with_meta(state, data["assessed"], message_id, data["attempt"])
    if number is not None:
        state.number(number).count_accepted(entry.at)
        state.touched.add(number)
    if "order" in data:
        resent = bool(data.get("resent"))
        state.fallbacks[message_id] = Fallback(
            data["attempt"], data.get("spent", 0), entry.at, data["order"], data.get("trace"), resent, number
        )
        if len(state.fallbacks) > MOST_FALLBACKS:
            del state.fallbacks[next(iter(state.fallbacks))]


def _with_meta(state: LaneState, template: str, message_id: str, attempt: int) -> None:
    if state.in_assessment(template):
        state.holds[("template", template)] = state.holds[("template", template)].took(message_id, attempt)


def _seen(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{attempt, wamid, number, reached}: Meta has an older attempt while the newest one's call is under way; or the
    first attempt of a message that had ended as unknown"""
    message = state.messages.get(message_id_of(entry.key))
    if message is None:
        _duplicate(state, entry, data)
    else:
        state.remember(entry.key, entry.at)
        message.seen = Seen(data["attempt"], data.get("wamid"), data.get("number"), data.get("reached", False))


def _duplicate(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{attempt, wamid, number}: another attempt that Meta has"""
    state.remember(entry.key, entry.at)
    message_id = message_id_of(entry.key)
    taken = state.taken.get(message_id)
    if taken is not None:
        state.taken[message_id] = taken._replace(attempts=(*taken.attempts, data["attempt"]))


def _watch(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{order, attempt, number, until and after: Unix seconds, resent, trace}: as `Watches.add` takes it"""
    state.watches.add(message_id_of(entry.key), entry.at, data)


def _auth(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{failures: in a row, token: the mark of the token that was refused}"""
    state.auth_failures[entry.key.partition("/")[2]] = (data["failures"], data["token"])


def _hold(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{until: Unix seconds or null, reason, since: when what it is for was said (without it: now), trips: the breaker's
    openings in a row, moves: whether the number's queue looks for other ways (without it: where it is long), others:
    [number, home] of other lanes that are told, told: until when each was before, says: what they are told where it
    is not the hold itself, length: of a template's, and what else the event says}"""
    _, scope, target = entry.key.split("/", 2)
    until = data.get("says", data).get("until")
    told = data.get("told", {}) | {number: until for number, _ in data.get("others", ())}
    at, length = data.get("since", entry.at), data.get("length", TEMPLATE_HOLD_SECONDS)
    state.holds[(scope, target)] = Hold(data["reason"], data.get("until"), at, told, length)
    state.half_open.discard((scope, target))
    state.probes.pop(target, None)
    (state.assessed.add if data["reason"] == IN_ASSESSMENT else state.assessed.discard)(target)
    if scope == "number":
        state.touched.add(target)
        state.number(target).trips = data.get("trips", 0)
        long = data.get("until") is None or data["until"] > entry.at + PATIENCE_SECONDS
        if not state.replaying and data.get("moves", long):
            _unplace(state, target)


def _spared(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{until: Unix seconds, reason, since: when it was said, code}"""
    state.spared[entry.key.partition("/")[2]] = Hold(data["reason"], data["until"], data["since"])
    state.remember(entry.key, entry.at)


def _places(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{sequence: units used up by now, persons: who took one each, again: who needed none, returned: given back}"""
    state.places.note(entry, data)
    for person in () if state.replaying else data.get("persons", ()):
        state.needs_no_place(person)


def _cancel(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{at: the command's time in Unix seconds, actor, ...}"""
    _, kind, target = entry.key.split("/", 2)
    state.cancels[(kind, target)] = max(data["at"], state.cancels.get((kind, target), 0.0))
    state.remember(entry.key, entry.at)
    if not state.replaying:
        for message in state.named(kind, target):
            state.unplaced.add(message)


def _priority(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{priority, at: the command's time in Unix seconds, actor, ...}"""
    _, kind, target = entry.key.split("/", 2)
    state.priorities[(kind, target)] = Given(data["at"], data["priority"])
    state.remember(entry.key, entry.at)
    for message in state.named(kind, target):
        state.prioritise(message, state.priority_of(message))


def _pause(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{paused, at: the command's time in Unix seconds, actor, ...}"""
    run_id = entry.key.partition("/")[2]
    state.pauses[run_id] = Paused(data["at"], data["paused"])
    state.remember(entry.key, entry.at)
    if not state.replaying:
        for message in state.runs.of(run_id, state.messages):
            state.unplaced.add(message)


def _resolved(state: LaneState, entry: Entry, _: dict[str, Any]) -> None:
    state.commands.add(entry.key)
    state.remember(entry.key, entry.at)


def _conflict(state: LaneState, entry: Entry, _: dict[str, Any]) -> None:
    state.remember(entry.key, entry.at)


def _emitted(state: LaneState, _: Entry, data: dict[str, Any]) -> None:
    """{seq: everything up to it has been written}"""
    state.emitted = max(state.emitted, data["seq"])


def _clock(state: LaneState, entry: Entry, data: dict[str, Any]) -> None:
    """{step: seconds by which the clock was set, negative: back}"""
    clock_stepped(state, data["step"], entry.at)
    state.remember(entry.key, entry.at)


KINDS: dict[str, Change] = {
    "order": _order,
    "step": _step,
    "end": _end,
    "seen": _seen,
    "duplicate": _duplicate,
    "watch": _watch,
    "auth": _auth,
    "hold": _hold,
    "spared": _spared,
    "throttle": _throttle,
    "places": _places,
    "cancel": _cancel,
    "priority": _priority,
    "pause": _pause,
    "resolved": _resolved,
    "conflict": _conflict,
    "clock": _clock,
    "emitted": _emitted,
}


def _tombstone(state: LaneState, entry: Entry) -> None:
    """The key is forgotten. A step's or conflict's tombstone says nothing that its order's does not."""
    state.papers.pop(entry.key, None)
    first, _, rest = entry.key.partition("/")
    if not rest:
        state.horizon.discard(entry.key)
        state.taken.pop(entry.key, None)
    elif rest == "w" and state.watches.remove(first):
        return
    elif rest == "e" and first in state.messages:
        state.messages[first].seen = None
    else:
        _forget_word(state, first, rest)


def _forget_word(state: LaneState, kind: str, rest: str) -> None:
    """A hold or a command, or what is remembered of a number; `kind` may be a message's id too, then nothing is."""
    what, _, target = rest.partition("/")
    match kind:
        case "hold":
            state.holds.pop((what, target), None)
            state.assessed.discard(target)
            state.half_open.discard((what, target))
            state.probes.pop(target, None)
            if what == "number" and target in state.numbers:
                state.numbers[target].trips = 0
            if what == "number" and not state.replaying:
                wake_number(state, target)
        case "spared":
            state.spared.pop(rest, None)
        case "auth":
            state.auth_failures.pop(rest, None)
        case "cancel":
            state.cancels.pop((what, target), None)
        case "priority":
            state.priorities.pop((what, target), None)
        case "pause":
            state.pauses.pop(rest, None)
        case "command":
            state.commands.discard(f"command/{rest}")


def clock_stepped(state: LaneState, step: float, at: float) -> None:
    """The clock was set by `step` seconds (negative: back), as was noticed `at` (Unix seconds, by the clock as it is
    now): what waits for a time is looked at again, but for a step that changes nothing anybody sees."""
    rebase(state, step, at)
    if state.replaying or abs(step) < SET_BACK_SECONDS:
        return
    for number in list(state.numbers):
        wake_number(state, number)


def wake_number(state: LaneState, number: str) -> None:
    """What waited for this number is looked at again."""
    lane = state.number(number)
    for message_id in lane.waiting:
        state.unplaced.add(state.messages[message_id])
    lane.waiting.clear()
    state.touched.add(number)


def _unplace(state: LaneState, number: str) -> None:
    """The number may send nothing: what stands in its queue finds another candidate, or is held."""
    for message in state.number(number).take_all():
        message.placed = None
        state.unplaced.add(message)


def unplace(state: LaneState, number: str) -> None:
    """As after a hold, for what an outside state forbids."""
    _unplace(state, number)
