"""What producers are told about their messages: sent, delivered, read, failed (WHK-12)."""

from __future__ import annotations

from typing import ClassVar, Literal

from harkara.contracts.event import Event, Home, Instant, Value
from harkara.contracts.lifecycle import Status

OutcomeKind = Literal["MESSAGE_SENT", "MESSAGE_DELIVERED", "MESSAGE_READ", "MESSAGE_FAILED"]
OUTCOME_KINDS: tuple[OutcomeKind, ...] = ("MESSAGE_SENT", "MESSAGE_DELIVERED", "MESSAGE_READ", "MESSAGE_FAILED")


class OutcomeError(Value):
    """Why a message failed: `code` for machines, `text` one sentence, `meta_code` Meta's error code where it gave one.

    `certain` False: nobody knows whether the person got it (`unknown`). Whoever sends again may send twice.
    """

    code: str
    text: str
    meta_code: int | None = None
    certain: bool = True


class MessageOutcome(Event):
    """One thing that became of one message. The record's CloudEvents id is the same whenever it is written again, so a
    consumer that remembers ids (7 days) takes each once.

    `person_key` is the person's pseudonym, `to` in a callback: the phone is on the send path alone, and the producer
    knows under `message_id` whom it wrote to.
    `whatsapp_id` is Meta's id of the message (wamid); None where Meta never had it. `status` is the one that led to it.
    `attempt`: a failure of attempt n may be followed by the success of a later one; the highest attempt counts.
    """

    ce_type: ClassVar[str] = "harkara.message-outcome.v1"
    kind: OutcomeKind
    message_id: str
    home: Home
    person_key: str | None = None
    whatsapp_id: str | None = None
    error: OutcomeError | None = None
    status: Status
    attempt: int
    at: Instant
    producer: str | None = None
    run_id: str | None = None
