"""What clients and operators tell a lane: cancel, pause, resume, prioritise, resolve what is in doubt.

Every command is remembered for seven days under its target or id, whether it applies to anything or not, so it may be
repeated, and so one that names a run counts for its messages that arrive later.
"""

from __future__ import annotations

from harkara.contracts.commands import SendCommand
from harkara.dispatcher import journal
from harkara.dispatcher.doubt import resolve
from harkara.dispatcher.kinship import cancel_elsewhere
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import DOUBTFUL


def take_command(scribe: Scribe, around: Surroundings, command: SendCommand) -> None:
    """Carry out one command; one that is older than what was told before, or came before, changes nothing."""
    if command.kind == "resolve_in_doubt":
        _resolve_in_doubt(scribe, around, command)
    elif command.kind in ("prioritise_message", "prioritise_run"):
        _prioritise(scribe, command)
    elif command.kind in ("pause_run", "resume_run"):
        _pause(scribe, command)
    elif scribe.state.cancels.get((command.kind, command.target), 0.0) < command.at.timestamp():
        scribe.write(journal.cancel_key(command.kind, command.target), "cancel", command.home, _said(command))
        if command.kind == "cancel_recipient":
            cancel_elsewhere(scribe, around, command.target)


def _prioritise(scribe: Scribe, command: SendCommand) -> None:
    """A command without a priority says nothing; of several for one target the newest counts."""
    before = scribe.state.priorities.get((command.kind, command.target))
    if command.priority is None or (before is not None and before.at >= command.at.timestamp()):
        return
    data = _said(command) | {"priority": command.priority}
    scribe.write(journal.priority_key(command.kind, command.target), "priority", command.home, data)


def _pause(scribe: Scribe, command: SendCommand) -> None:
    """Of several words on one run the newest counts, and of two of the same instant the pause: in every lane alike."""
    paused, before = command.kind == "pause_run", scribe.state.pauses.get(command.target)
    if before is not None and (before.at, before.paused) >= (command.at.timestamp(), paused):
        return
    scribe.write(journal.pause_key(command.target), "pause", command.home, _said(command) | {"paused": paused})


def _resolve_in_doubt(scribe: Scribe, around: Surroundings, command: SendCommand) -> None:
    """Settles a message in doubt, once."""
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
        resolve(scribe, around, message, command)


def _said(command: SendCommand) -> dict[str, object]:
    """Who said it and when (Unix seconds)."""
    at = command.at.timestamp()
    return {"at": at, "actor": command.actor, "command_id": command.command_id, "note": command.note}
