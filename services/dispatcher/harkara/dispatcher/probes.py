"""Holds whose time is over and that stay until a call shows that they may go: half-open, as the breaker's.

The endpoint of a number that was tripped, and a template that Meta refused for a time nobody named. Such a hold keeps
its journal entry, so that whoever takes the lane knows of it, and no order of compaction changes what it knows; the one
tombstone that ends it is written for the first call that is served.

A template is tried by one message (`state.probes`): the others wait as if the hold went on for as long again, and the
next of them is let go where that one's call said nothing of the template, or never came to be. One that stands in a
queue holds the others up for a minute at most, and not those that are more urgent or whose turn in a queue comes first.
A number that could not call it is passed over until every other one has had its chance.

Who tries is not journaled: a new owner lets any message try.
"""

from __future__ import annotations

from harkara.dispatcher import journal
from harkara.dispatcher.evolve import wake_number
from harkara.dispatcher.message import Probe
from harkara.dispatcher.plan import BREAKER_REASONS, Go, Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import Hold, LaneState, Message
from harkara.dispatcher.wordings import at_account

STANDS_SECONDS = 60.0  # a number that calls nobody for so long has its day used up, or a long queue
PASSED_SECONDS = 5.0  # nobody else wants to try it by then: those who were passed over may again
TEMPLATE_FORGOTTEN_SECONDS = 86_400.0  # nobody wanted it for so long: there is no queue that could burn


def end_holds(scribe: Scribe, around: Surroundings) -> None:
    """Holds whose time is over: erased, or half-open from now on."""
    state, now = scribe.state, scribe.now
    for key, hold in list(state.holds.items()):  # a handful: numbers, pairs and templates that pause now
        if hold.until is None or hold.until > now:
            state.half_open.discard(key)  # the clock went back by too little for a step: who waits is woken once more
            continue
        if _stays(key, hold, now) and key in state.half_open:
            if key[0] == "template":
                _end_probe(scribe, around, key[1])
            continue
        if not _stays(key, hold, now):
            scribe.erase(journal.hold_key(*key))
        else:
            state.half_open.add(key)
            if key[0] == "number":
                wake_number(state, key[1])
        if hold.in_assessment:  # who waits for it knows of no time
            wake_account(scribe, around, key[1])


def _end_probe(scribe: Scribe, around: Surroundings, template: str) -> None:
    """Another message is let go where nobody tries the template any more, or the one that should is not called."""
    state, now = scribe.state, scribe.now
    due = look_at(state, template, now)
    if due is None or due > now:
        return
    stands = state.probe_of(template) is not None
    probe = state.probes.pop(template)
    passed = probe.passed | {probe.number} if stands else probe.passed
    if probe.number and passed:
        state.probes[template] = Probe(probe.message_id, "", now, passed)
    if probe.message_id in state.messages:
        _wait_last(state, state.messages[probe.message_id])
    wake_account(scribe, around, template)


def _wait_last(state: LaneState, message: Message) -> None:
    """Others that wait for its numbers are looked at before it."""
    for candidate in message.plan:
        waiting = state.number(candidate.number).waiting
        if message.message_id in waiting:
            waiting[message.message_id] = waiting.pop(message.message_id)


def look_at(state: LaneState, template: str, now: float) -> float | None:
    """When another message is to try the template (Unix seconds), now or later; None: nobody tries it, or its call is
    under way."""
    probe = state.probes.get(template)
    if probe is None:
        return None
    tried = state.probe_of(template)
    if probe.number and tried is None:
        return now
    if tried is not None and tried.placed is None:
        return None
    if probe.since > now:  # the clock was set back
        return now
    return probe.since + (STANDS_SECONDS if probe.number else PASSED_SECONDS)


def not_called(state: LaneState, message: Message) -> None:
    """Its call did not leave: if a template was tried by it, other numbers are to try."""
    for template, probe in state.probes.items():
        if probe.message_id == message.message_id and probe.number:
            state.probes[template] = probe._replace(passed=probe.passed | {probe.number})


def _stays(key: tuple[str, str], hold: Hold, now: float) -> bool:
    scope, _ = key
    if scope == "template":
        return hold.until is not None and now < hold.until + TEMPLATE_FORGOTTEN_SECONDS
    return scope == "number" and hold.reason in BREAKER_REASONS


def note_probe(state: LaneState, around: Surroundings, message: Message, way: Go, now: float) -> None:
    """The message takes this way: where its template is half-open, it is the one by which that is tried."""
    if not state.holds:
        return
    facts = around.fleet.get(way.candidate.number)
    if way.template is None or facts is None:
        return
    name = at_account(facts.waba_id, way.template)
    hold = state.holds.get(("template", name))
    if hold is not None and hold.until is not None and hold.until <= now:
        before = state.probes.get(name)
        goes_on = before is not None and before[:2] == (message.message_id, way.candidate.number)
        since = before.since if before is not None and goes_on else now
        passed = frozenset[str]() if before is None else before.passed
        state.probes[name] = Probe(message.message_id, way.candidate.number, since, passed)


def template_served(scribe: Scribe, around: Surroundings, message: Message) -> None:
    """Meta has taken the message: if its template was half-open, it goes again. Whether one that is held was taken by
    a call of before says nothing."""
    if not scribe.state.holds:
        return
    facts = around.fleet.get(message.number or "")
    if message.form != "template" or facts is None:
        return
    name = at_account(facts.waba_id, message.template_used or "")
    hold = scribe.state.holds.get(("template", name))
    if hold is not None and hold.until is not None and hold.until <= scribe.now:
        scribe.erase(journal.hold_key("template", name))
        wake_account(scribe, around, name)


def end_approved(scribe: Scribe, around: Surroundings, template: str) -> None:
    """A hold that Meta's refusal made ends where the template was approved later. One that Meta tries out is approved
    all the while."""
    hold, word = scribe.state.holds.get(("template", template)), around.templates.get(template)
    if hold is not None and not hold.in_assessment and word is not None and word.approved and word.status_at > hold.at:
        scribe.erase(journal.hold_key("template", template))


def wake_account(scribe: Scribe, around: Surroundings, template: str) -> None:
    """What waits by the numbers of the template's account is looked at again."""
    state, waba_id = scribe.state, template.partition("/")[0]
    for number, lane in state.numbers.items():  # at a start thousands of templates are told, and few numbers wait
        if lane.waiting and number in around.fleet and around.fleet[number].waba_id == waba_id:
            wake_number(state, number)
