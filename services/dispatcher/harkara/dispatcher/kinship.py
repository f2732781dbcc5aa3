"""A person known by several names is one person for the lane: one order, one pair limit, one cancel (B17)."""

from __future__ import annotations

from typing import Any

from harkara.contracts.event import epoch_ms
from harkara.dispatcher import journal
from harkara.dispatcher.journal import instant
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import LaneState
from harkara.policy.aliases import packed

CANCEL = "cancel_recipient"


def lined(order: dict[str, Any], state: LaneState, around: Surroundings) -> dict[str, Any]:
    """The order, with the name by which the person's messages keep their order and share the pair limit where that is
    another than the one it is for. Journaled with the order, so that a new owner of the lane has the same lines.

    What waits under the name already is joined, whatever has been learnt of the person since it came: nothing of it is
    overtaken. Where two names of a person became known as such while messages waited under both, these keep two orders.
    """
    person = order["person_key"]
    line = state.recipients.line_name(person)
    if line is None:
        line = around.links.line(person) if around.links else person
    return order if line == person else order | {"line": line}


def cancel_elsewhere(scribe: Scribe, around: Surroundings, target: str) -> None:
    """A cancel of what is for a person, written under every other name for whom what is said under `target` counts: at
    the command, and when a link between two names comes after it. Where there is no such cancel nothing happens."""
    at = scribe.state.cancels.get((CANCEL, target), 0.0)
    for name in uncancelled(scribe.state, around, target):
        data = {"at": at, "actor": "dispatcher", "note": f"said of another name of the person, {target}"}
        scribe.write(journal.cancel_key(CANCEL, name), "cancel", name, data)


def uncancelled(state: LaneState, around: Surroundings, target: str) -> list[str]:
    """The other names under which the cancel for `target` counts and is not known yet."""
    at = state.cancels.get((CANCEL, target))
    if at is None:
        return []
    unknown = [name for name in around.links.kin(target)[1:] if state.cancels.get((CANCEL, name), 0.0) < at]
    said_ms = epoch_ms(instant(at)) if unknown else 0
    return [name for name in unknown if said_ms <= around.links.names(name).get(packed(target), -1)]
