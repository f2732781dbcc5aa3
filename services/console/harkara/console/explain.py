"""Why a message was let pass, refused, or sent the way it was: its decisions, made again from what was kept of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from fastapi import APIRouter

from harkara.console.answers import Answer, Why
from harkara.console.core import Row
from harkara.console.routes import PROBLEMS, AsCaller, AtDesk, Desk, find_message
from harkara.contracts.event import Decision
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.policy.explain import decided_again
from harkara.policy.governance import Governance
from harkara.policy.reload import from_record

explaining = APIRouter(prefix="/api/v1", responses=PROBLEMS)

FALLBACK_STARTED = "fallback_content"
"""The reason of the step by which a lane goes on with a message's other content."""
UNKNOWN_POLICY = "the policy of that version is not on record here"


class Explained(Answer):
    """One decision: what it went by, what came of it, and what comes of it when it is made again.

    `verdict` is the recorded one, `again` the new one under the same policy, `same` whether they agree. `why_not` says
    why it could not be made again. Keys inside `inputs`, `verdict` and `again` are as they were recorded.
    """

    step: str
    at: datetime
    policy_version: str
    inputs: dict[str, Any]
    verdict: dict[str, Any]
    again: dict[str, Any] | None = None
    same: bool = False
    reason: Why | None = None
    why_not: str | None = None


class Turn(Answer):
    """Why an attempt carries another content than the one before it."""

    attempt: int
    at: datetime
    reason: Why


class Explanation(Answer):
    """Why a message stands where it stands. `reason` is of its newest step; `turns` and `decisions` are in their order.

    `turns`: where its fallback content took the first one's place, and why (RTW-7).
    """

    message_id: str
    status: str
    reason: Why | None
    turns: list[Turn]
    decisions: list[Explained]


@explaining.get("/messages/{message_id}/explain", response_model_exclude_none=True)
async def explain_message(message_id: str, desk: AtDesk, caller: AsCaller) -> Explanation:
    """The decisions on a message, of guard, router and lane, each made again from its recorded inputs under the policy
    that was in force. A wamid will do too."""
    state, history = await find_message(desk, caller, message_id)
    decisions = decisions_of(MessageLifecycle.model_validate(row["event"]).decision for row in history)
    policies = {version: await _policy(desk, version) for version in {each.policy_version for each in decisions}}
    return Explanation(
        message_id=state.message_id,
        status=state.status,
        reason=None if state.reason is None else Why.model_validate(state.reason.model_dump()),
        turns=_turns(history),
        decisions=[made_again(each, policies[each.policy_version]) for each in decisions],
    )


def decisions_of(recorded: Iterable[Decision | None]) -> list[Decision]:
    """Of a history in its order. Of a hop that was killed and ran again there may be several; each is shown once. Of
    several in a row by which a lane held the message for the same reason, the newest: a message that waits for a place
    is told a new time every few minutes."""
    found: dict[str, Decision] = {}
    for decision in recorded:
        if decision is None:
            continue
        newest = next(reversed(found.items()), None)
        if newest is not None and _holds_on(newest[1], decision):
            del found[newest[0]]
        found.setdefault(decision.model_dump_json(), decision)
    return list(found.values())


def _holds_on(before: Decision, decision: Decision) -> bool:
    return before.step == decision.step == "lane" and before.verdict == decision.verdict


def _turns(history: list[Row]) -> list[Turn]:
    """One an attempt, however often its event came."""
    found: dict[int, Turn] = {}
    for row in history:
        event = MessageLifecycle.model_validate(row["event"])
        if event.reason is not None and event.reason.code == FALLBACK_STARTED:
            why = Why.model_validate(event.reason.model_dump())
            found.setdefault(event.attempt, Turn(attempt=event.attempt, at=event.at, reason=why))
    return [found[attempt] for attempt in sorted(found)]


async def _policy(desk: Desk, version: str) -> Governance | None:
    if desk.governance.version == version:
        return desk.governance
    content = await desk.queries.policy(version)
    return None if content is None else _read(content, version)


def _read(content: str, version: str) -> Governance | None:
    """The recorded policy; None where this version of the code cannot read it."""
    try:
        return from_record(content, version)
    except ValueError:
        return None


def made_again(decision: Decision, policy: Governance | None) -> Explained:
    """A recorded decision beside what its inputs come to under the policy of its version (None: not on record)."""
    kept = Explained(
        step=decision.step,
        at=decision.at,
        policy_version=decision.policy_version,
        inputs=decision.inputs,
        verdict=decision.verdict,
    )
    if policy is None:
        return kept.model_copy(update={"why_not": UNKNOWN_POLICY})
    again = decided_again(decision, policy)
    if again.unreadable is not None:
        return kept.model_copy(update={"why_not": again.unreadable})
    why = None if again.reason is None else Why.model_validate(again.reason.model_dump())
    return kept.model_copy(update={"again": again.verdict, "same": again.same, "reason": why})
