"""A lane takes Meta's statuses in: what they say of attempts (`evidence.py`), and what else has to be done at once.

A failure is counted here, once however often its status comes: nobody else sees that a queue which Meta accepts call by
call fails behind that.
"""

from __future__ import annotations

import structlog

from harkara.dispatcher import metrics
from harkara.dispatcher.evidence import take_echo
from harkara.dispatcher.failed_later import sent
from harkara.dispatcher.inbox import EchoArrived
from harkara.dispatcher.journal import Entry
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.workshop import Bars
from harkara.graph_api.errors import Action, ErrorPolicy, Scope, policy_for
from harkara.graph_api.outcome import GraphError, Refused

REMEMBERED = 20_000  # failures of one lane, 3 MB: Meta repeats a status within minutes

log = structlog.get_logger()


class Statuses:
    """Of one lane. `barred` is told of a failure that stops numbers: others that share what was refused may be in other
    lanes."""

    def __init__(self, barred: Bars) -> None:
        self._barred = barred
        self._counted: dict[tuple[str, int], None] = {}

    def take(self, scribe: Scribe, around: Surroundings, echo: EchoArrived) -> None:
        """One status of an attempt."""
        failed = echo.failed_code is not None and sent(scribe.state, echo.message_id, echo.attempt) is not None
        before = len(scribe.entries)
        take_echo(
            scribe,
            around,
            echo.message_id,
            echo.attempt,
            echo.wamid,
            echo.number,
            echo.at,
            echo.failed_code,
            reached=echo.reached,
            person_key=echo.person_key,
        )
        if failed:
            self._failed(scribe, echo, echo.failed_code or 0, scribe.entries[before:])

    def _failed(self, scribe: Scribe, echo: EchoArrived, code: int, entries: list[Entry]) -> None:
        policy = policy_for(code) if code else None
        holds = [entry for entry in entries if entry.kind == "hold" and entry.key.startswith("hold/number/")]
        if holds and policy is not None and policy.stops_numbers and echo.number is not None:
            self._barred(echo.number, Refused(GraphError(200, code), policy), min(echo.at, scribe.now))
        key = (echo.message_id, echo.attempt)
        if key in self._counted:
            return
        self._counted[key] = None
        if len(self._counted) > REMEMBERED:
            del self._counted[next(iter(self._counted))]
        count_failure(code, policy)
        if policy is not None and policy.alert and policy.action is Action.FAIL:  # a hold asks for it by its entry
            metrics.ALERTS.labels(str(code)).inc()
            log.error("refusal_needs_a_look", subject=echo.message_id, code=code, reason=policy.reason_code)


def count_failure(code: int, policy: ErrorPolicy | None) -> None:
    """Of a status `failed`: Meta's code (0: it said none) and whose matter it is."""
    scope = Scope.MESSAGE if policy is None else policy.scope
    metrics.FAILED_LATER.labels(str(code or "none"), scope.value).inc()
