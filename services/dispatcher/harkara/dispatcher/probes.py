"""Holds whose time is over and that stay until a call shows that they may go: half-open, as the breaker's.

The endpoint of a number that was tripped, and a template that Meta refused for a time nobody named. Such a hold keeps
its journal entry, so that whoever takes the lane knows of it, and no order of compaction changes what it knows; the one
tombstone that ends it is written for the first call that is served.

A template is tried by one message (`state.probes`): the others wait as if the hold went on for as long again, and the
next of them is let go where that one's call said nothing of the template, or never came to be.
"""

from __future__ import annotations

from harkara.dispatcher import journal
from harkara.dispatcher.evolve import wake_number
from harkara.dispatcher.plan import BREAKER_REASONS, Go, Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import Hold, LaneState, Message
from harkara.dispatcher.wordings import at_account

TEMPLATE_FORGOTTEN_SECONDS = 86_400.0  # nobody wanted it for so long: there is no queue that could burn


def end_holds(scribe: Scribe, around: Surroundings) -> None:
    """Holds whose time is over: erased, or half-open from now on."""
    state, now = scribe.state, scribe.now
    for key, hold in list(state.holds.items()):  # a handful: numbers, pairs and templates that pause now
        if hold.until is None or hold.until > now:
            continue
        if not _stays(key, hold, now):
            scribe.erase(journal.hold_key(*key))
        elif key not in state.half_open:
            state.half_open.add(key)
            if key[0] == "number":
                wake_number(state, key[1])
        elif key[0] == "template" and key[1] in state.probes and state.probe_of(key[1]) is None:
            del state.probes[key[1]]
            wake_account(scribe, around, key[1])


def _stays(key: tuple[str, str], hold: Hold, now: float) -> bool:
    scope, _ = key
    if scope == "template":
        return hold.until is not None and now < hold.until + TEMPLATE_FORGOTTEN_SECONDS
    return scope == "number" and hold.reason in BREAKER_REASONS


def note_probe(state: LaneState, around: Surroundings, message: Message, way: Go, now: float) -> None:
    """The message takes this way: where its template is half-open, it is the one by which that is tried."""
    facts = around.fleet.get(way.candidate.number)
    if way.template is None or facts is None:
        return
    name = at_account(facts.waba_id, way.template)
    hold = state.holds.get(("template", name))
    if hold is not None and hold.until is not None and hold.until <= now:
        state.probes[name] = message.message_id


def template_served(scribe: Scribe, around: Surroundings, message: Message) -> None:
    """Meta has taken the message: if its template was half-open, it goes again. Whether one that is held was taken by
    a call of before says nothing."""
    facts = around.fleet.get(message.number or "")
    if message.form != "template" or facts is None or not scribe.state.holds:
        return
    name = at_account(facts.waba_id, message.template_used or "")
    hold = scribe.state.holds.get(("template", name))
    if hold is not None and hold.until is not None and hold.until <= scribe.now:
        scribe.erase(journal.hold_key("template", name))
        wake_account(scribe, around, name)


def end_approved(scribe: Scribe, around: Surroundings, template: str) -> None:
    """A hold that Meta's refusal made ends where the template was approved later."""
    hold, word = scribe.state.holds.get(("template", template)), around.templates.get(template)
    if hold is not None and word is not None and word.approved and word.status_at > hold.at:
        scribe.erase(journal.hold_key("template", template))


def wake_account(scribe: Scribe, around: Surroundings, template: str) -> None:
    """What waits by the numbers of the template's account is looked at again."""
    state, waba_id = scribe.state, template.partition("/")[0]
    for number, lane in state.numbers.items():  # at a start thousands of templates are told, and few numbers wait
        if lane.waiting and number in around.fleet and around.fleet[number].waba_id == waba_id:
            wake_number(state, number)
