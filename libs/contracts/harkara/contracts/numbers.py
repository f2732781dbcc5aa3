"""The health of sender numbers, and how their queues stand."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from harkara.contracts.event import Event, Home, Instant, Reason, Value

Availability = Literal["AVAILABLE", "LIMITED", "BLOCKED", "UNKNOWN"]
Quality = Literal["GREEN", "YELLOW", "RED", "UNKNOWN"]
Verdict = Literal["open", "paused", "pause_proactive", "halted"]
"""open: sends. paused: nothing until `until`. pause_proactive: only session messages.
halted: nothing until an operator resumes."""


class NumberEvent(Event):
    """Something was seen about a number: by the poll of health_status, by a webhook, or by the dispatcher's calls.

    `connection` is Meta's word for the number's registration (CONNECTED, DISCONNECTED, BANNED, ...; fact sheet 1.5).
    `messaging_limit`: how many people outside a service window the portfolio may write to in 24 hours; -1: no limit.
    """

    ce_type: ClassVar[str] = "harkara.number-event.v1"
    phone_number_id: str
    home: Home
    kind: Literal["health", "quality", "status", "halted", "rate_limited", "throughput", "other"]
    source: Literal["poll", "webhook", "dispatcher"]
    at: Instant
    availability: Availability | None = None
    quality: Quality | None = None
    hold_until: Instant | None = None
    connection: str | None = None
    messaging_limit: int | None = None
    reason: Reason | None = None


class NumberCommand(Event):
    """An operator's word on a number; `actor` is who said it, `note` why."""

    ce_type: ClassVar[str] = "harkara.number-command.v1"
    command_id: str
    phone_number_id: str
    home: Home
    kind: Literal["halt", "resume"]
    actor: str
    note: str = ""
    at: Instant


class NumberState(Event):
    """What a number may do now. `version` only grows: a reader keeps the highest. `resumed_at`: when an operator last
    resumed it; what a lane holds since before that is released. `connection`: CONNECTED, DISCONNECTED, BANNED or
    another word of Meta's for its registration; shown, while the verdict decides."""

    ce_type: ClassVar[str] = "harkara.number-state.v1"
    phone_number_id: str
    home: Home
    version: int
    verdict: Verdict
    availability: Availability = "UNKNOWN"
    quality: Quality = "UNKNOWN"
    connection: str = "UNKNOWN"
    until: Instant | None = None
    latched: bool = False
    reason: Reason | None = None
    by: str = ""
    resumed_at: Instant | None = None
    updated_at: Instant


class QueueWindow(Value):
    """A window of a number's pace: at most `calls` in any `seconds`, of which `used` are taken now.

    `opens` holds rising (n, at): the n-th call from now on may go at `at` as far as the calls already made count.
    Before the first of them every call may go now; for an n in between, it is a time in between.
    """

    calls: int
    seconds: float
    used: int
    opens: tuple[tuple[int, Instant], ...] = ()


class QueuePace(Value):
    """From which the schedule of a queue is worked out (`harkara.policy.schedule`).

    `next_at`: when the next call may start; None: not before somebody lets the number go on. `gap_seconds`: the mean
    delay after a call, `per_second` how many calls a second may hold (None: no such limits). After Meta's "too fast"
    the number makes `slowed_to` calls a second at `slowed_until`, and more as time passes.
    """

    next_at: Instant | None = None
    gap_seconds: float = 0.0
    per_second: float | None = None
    slowed_to: float | None = None
    slowed_until: Instant | None = None
    windows: tuple[QueueWindow, ...] = ()


class QueueFlow(Value):
    """Who shares the turns of one priority: producers by `weight`, and what a producer has evenly between its flows: a
    run by its id, or its single messages (`flow` is then the producer's name). `flow` "" stands for the `flows` smaller
    ones of the producer together; `producer` "" for all the smaller ones of several producers.

    `places`: empty where a flow's messages go in the order of their intake. Where they are mixed, their places (Unix
    seconds, smaller goes first) in steps of a tenth of the messages, from the first to the last.
    """

    priority: int
    flow: str
    queued: int
    weight: float = 1.0
    places: tuple[float, ...] = ()
    producer: str = ""
    flows: int = 1


class QueuedMessage(Value):
    """A message near the head of the queue."""

    message_id: str
    priority: int
    flow: str


class QueueState(Event):
    """How one number's queue stands in its lane, about once a second while it changes, once when the lane has a new
    owner, and every 20 s whatever happens (a thousand numbers take ten more). Counts of messages.

    `by_priority`, `flows` and `first` say of the messages that stand in the queue who goes before whom: `first` the
    next ones in their order. `daily_used` counts the calls of the last 24 hours, as `daily_limit` does.
    """

    ce_type: ClassVar[str] = "harkara.queue-state.v1"
    phone_number_id: str
    home: Home
    queued: int
    scheduled: int
    held: int
    in_flight: int
    in_doubt: int
    sent_last_minute: int
    sent_today: int
    oldest_queued_at: Instant | None = None
    verdict: Verdict = "open"
    by_priority: dict[Literal["1", "2", "3"], int] = Field(default_factory=dict)
    flows: tuple[QueueFlow, ...] = ()
    first: tuple[QueuedMessage, ...] = ()
    pace: QueuePace | None = None
    daily_limit: int | None = None
    daily_used: int = 0
    updated_at: Instant
