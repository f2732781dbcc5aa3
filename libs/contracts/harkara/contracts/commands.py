"""What operators and clients tell the lanes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Literal

from harkara.contracts.event import Event, Home, Instant, event_id
from harkara.contracts.intents import Priority


class SendCommand(Event):
    """A command to the lane of `home`. Cancels also stop intents written before `at` that arrive later.

    kind                target                    argument
    cancel_message      message id                -
    cancel_run          run id                    - (one command per home)
    cancel_recipient    person key                -
    pause_run           run id                    -, what waits of it is held, also what arrives later (one per home)
    resume_run          run id                    -, it goes on where it stopped (one per home)
    prioritise_message  message id                `priority`
    prioritise_run      run id                    `priority`, also of its messages that arrive later (one per home)
    resolve_in_doubt    message id                `resolution`: sent (with `wamid` if known), resend or drop
    """

    ce_type: ClassVar[str] = "harkara.send-command.v1"
    command_id: str
    home: Home
    kind: Literal[
        "cancel_message",
        "cancel_run",
        "cancel_recipient",
        "pause_run",
        "resume_run",
        "prioritise_message",
        "prioritise_run",
        "resolve_in_doubt",
    ]
    target: str
    priority: Priority | None = None
    resolution: Literal["sent", "resend", "drop"] | None = None
    wamid: str | None = None
    actor: str
    note: str = ""
    at: Instant


RunWord = Literal["pause_run", "resume_run", "cancel_run"]


def run_commands(
    kind: RunWord, run_id: str, homes: Iterable[str], *, accepted_at: datetime, actor: str, note: str, now: datetime
) -> list[SendCommand]:
    """One command per home of a run that was accepted then. None is older than the run, whoever's clock is behind: a
    cancel of a run means all of it."""
    at = max(now, accepted_at)
    return [
        SendCommand(
            command_id=event_id(kind, run_id, home, actor, at.isoformat()),
            home=home,
            kind=kind,
            target=run_id,
            actor=actor,
            note=note,
            at=at,
        )
        for home in sorted(homes)
    ]
