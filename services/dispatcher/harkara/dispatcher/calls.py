"""The calls of a lane's committed attempts: each checked once more with a connection at hand, and its lease again as
the first byte leaves; each with an outcome."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from pydantic import ValidationError

from harkara.dispatcher import metrics
from harkara.dispatcher.failpoints import Failpoints
from harkara.dispatcher.heard import Indicator
from harkara.dispatcher.senders import Senders, body_of
from harkara.dispatcher.state import Message
from harkara.dispatcher.tokens import NoToken
from harkara.dispatcher.workshop import Bars
from harkara.graph_api.outcome import IMPOSSIBLE, Accepted, InDoubt, NotSent, Outcome, Refused
from harkara.runtime.clock import Clock
from harkara.runtime.telemetry import span

MOST_SHOWING = 4  # indicators of a number under way: half of its fewest connections, the others are for its calls
DURING_CALL_SECONDS = 0.01  # the failpoint inside a call: after the request has left, before a usual answer
_ACCEPTED = metrics.ATTEMPTS.labels("accepted", "")  # asked for once: nearly every call counts it

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Settled:
    """An outcome that waits for the lane's next round."""

    message_id: str
    attempt: int
    outcome: Outcome


@dataclass
class Calls:
    """Calls under way. `gate(message, attempt)` says in the instant before the first byte why not, or None; `began` is
    told where nothing stands against it. `barred` is told at once of a refusal that stops numbers, before any other
    call can pass the gate."""

    senders: Senders
    clock: Clock
    failpoints: Failpoints
    gate: Callable[[Message, int], str | None]
    wake: Callable[[], None]
    token_lost: Callable[[str], None]
    barred: Bars
    began: Callable[[Message], None]
    settled: deque[Settled] = field(default_factory=deque)
    failure: BaseException | None = None
    under_way: set[asyncio.Task[None]] = field(default_factory=set)
    showing: Counter[str] = field(default_factory=Counter)

    def start(self, message: Message, decided_at: float, lease_until: float, wait: float = 0.0) -> None:
        """One attempt, already committed, to begin `wait` seconds from now. Both times are monotonic; a call that has
        not begun by `lease_until` never does."""
        task = asyncio.create_task(self._call(message, message.attempt, decided_at, lease_until, wait))
        self.under_way.add(task)
        task.add_done_callback(self._ended)

    def show(self, indicator: Indicator, may: Callable[[str], bool]) -> None:
        """The typing indicator, as far as `may(number)` lets it leave; whether it was shown changes nothing else. Where
        many are asked for at once, most are left out: none is to wait for a connection that a call wants."""
        if self.showing[indicator.number] >= MOST_SHOWING:
            metrics.INDICATORS.labels("not_shown").inc()
            return
        self.showing[indicator.number] += 1
        task = asyncio.create_task(self._show(indicator, may))
        self.under_way.add(task)
        task.add_done_callback(self._ended)

    async def _show(self, indicator: Indicator, may: Callable[[str], bool]) -> None:
        try:
            client = self.senders.client(indicator.number)
            shown = await client.show_typing(*indicator, before_call=lambda: may(indicator.number))
        except (NoToken, KeyError):
            shown = False  # the call that follows says so, and acts on it
        finally:
            self.showing[indicator.number] -= 1
        metrics.INDICATORS.labels("shown" if shown else "not_shown").inc()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failure = error  # a mistake of ours: the lane raises it, the process ends, the attempt is in doubt
            self.wake()

    async def _call(self, message: Message, attempt: int, decided_at: float, lease_until: float, wait: float) -> None:
        if wait > 0.0:  # by the wall clock, which may be set back meanwhile: never beyond the lease
            await asyncio.sleep(min(wait, lease_until - self.clock.monotonic()))
        refusal = "lease"

        def before_call() -> bool:
            nonlocal refusal
            self.failpoints.reach("before_call")
            now = self.clock.monotonic()
            if now > lease_until:
                return False
            why_not = self.gate(message, attempt)
            if why_not is not None:
                refusal = why_not
                return False
            metrics.JOURNAL_TO_CALL_SECONDS.observe(now - decided_at)
            self.began(message)
            if self.failpoints.is_armed("during_call"):
                asyncio.get_running_loop().call_later(DURING_CALL_SECONDS, self.failpoints.reach, "during_call")
            return True

        outcome = await self._sent(message, before_call, lambda: self.clock.monotonic() <= lease_until)
        if outcome == NotSent("lease"):
            outcome = NotSent(refusal)
        if outcome == NotSent(IMPOSSIBLE):
            log.error("request_impossible", phone_number_id=message.number)
        self.failpoints.reach("after_answer")
        _count(outcome)
        if isinstance(outcome, Refused) and outcome.policy.stops_numbers:
            self.barred(message.number or "", outcome)
        self.settled.append(Settled(message.message_id, attempt, outcome))
        self.wake()

    async def _sent(self, message: Message, before_call: Callable[[], bool], in_time: Callable[[], bool]) -> Outcome:
        number = message.number or ""
        try:
            body = body_of(message)
        except (ValidationError, ValueError, KeyError) as error:  # the order itself cannot be made into a request
            log.error("request_invalid", message_id=message.message_id, error=type(error).__name__)
            return NotSent("invalid")
        try:
            client = self.senders.client(number)
        except (ValueError, KeyError) as error:  # of its way out or its place in the policy: no matter of the order
            log.error("client_impossible", phone_number_id=number, error=type(error).__name__)
            return NotSent(IMPOSSIBLE)
        try:
            if message.trace is None:
                return await client.send(number, body, before_call=before_call, in_time=in_time)
            with span("graph.send", message.trace, phone_number_id=number):
                return await client.send(number, body, before_call=before_call, in_time=in_time)
        except NoToken as error:  # asked for before a connection is
            log.error("token_missing", phone_number_id=number, reason=str(error))
            self.token_lost(number)
            return NotSent("token")


def _count(outcome: Outcome) -> None:
    match outcome:
        case Accepted():
            _ACCEPTED.inc()
        case Refused(error=error):
            metrics.ATTEMPTS.labels("refused", str(error.code or f"http_{error.http_status}")).inc()
        case InDoubt(reason=reason):
            metrics.ATTEMPTS.labels("in_doubt", reason).inc()
            metrics.IN_DOUBT.labels(reason).inc()
        case NotSent(reason=reason):
            metrics.ATTEMPTS.labels("not_sent", reason).inc()
