"""What operators and clients tell the lanes."""

from __future__ import annotations

from typing import ClassVar, Literal

from harkara.contracts.event import Event, Home, Instant
from harkara.contracts.intents import Priority


class SendCommand(Event):
    """A command to the lane of `home`. Cancels also stop intents written before `at` that arrive later.

    kind                target                    argument
    cancel_message      message id                -
    cancel_run          run id                    - (one command per home)
    cancel_recipient    person key                -
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
