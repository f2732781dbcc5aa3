"""Meta says that a number sends too fast (130429 and its like): the number's rate is cut, the message stays.

The refusal is about the number's pace, not about the message, so it spends none of its attempts, and nothing of the
queue moves: the number waits a breath and goes on slower (`harkara.policy.throttle`). Refusals for which the policy
pauses the number (131048 and others) are holds, not cuts.
"""

from __future__ import annotations

from harkara.dispatcher import journal
from harkara.dispatcher.holds import hold_by_policy
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import Message
from harkara.graph_api.errors import Action, ErrorClass, ErrorPolicy, Scope, policy_for
from harkara.graph_api.outcome import Refused
from harkara.policy.pacing import next_fraction
from harkara.policy.throttle import LONGEST_BREATH_SECONDS, next_cut

STATUS_FRESH_SECONDS = 30.0  # half the way back to the full rate: what is older would cut a rate that is not its own
HIGHEST_PER_SECOND = 1000.0  # Meta's highest throughput, for a number without a profile


def too_fast(policy: ErrorPolicy) -> bool:
    """Whether the refusal says that this number's calls came too fast, and nothing worse."""
    rated = policy.error_class is ErrorClass.RATE_LIMIT and policy.scope is Scope.NUMBER
    return rated and policy.action is Action.RETRY


def slow_down(scribe: Scribe, around: Surroundings, message: Message, outcome: Refused) -> None:
    """Meta's answer to this message's call said so. Where it asks for more than a breath the number is held: what
    waits goes by another number of its plan, and operators see it."""
    asked_seconds = outcome.retry_after_seconds or 0.0
    breath = min(asked_seconds, LONGEST_BREATH_SECONDS)
    _cut(scribe, message.number or "", message.home, message.called_at, breath, outcome.error.code)
    if asked_seconds > LONGEST_BREATH_SECONDS:
        hold_by_policy(scribe, around, message, outcome, scribe.now + asked_seconds)


def slow_down_told(scribe: Scribe, number: str, code: int, at: float) -> None:
    """A status said so of a message that was taken at first; `at` is its time, in whole seconds. What a status of a
    backlog says is over."""
    if too_fast(policy_for(code)) and scribe.now - at <= STATUS_FRESH_SECONDS:
        _cut(scribe, number, number, at, 0.0, code)


def _cut(scribe: Scribe, number: str, home: str, called_at: float, asked_seconds: float, code: int | None) -> None:
    """Once for all calls that were under way together; journaled, so that a restart keeps it."""
    pace = scribe.state.number(number).pace
    scribe.state.seed, fraction = next_fraction(scribe.state.seed)
    full = float(pace.limits.per_second or HIGHEST_PER_SECOND)
    cut = next_cut(pace.cut, full, called_at, scribe.now, asked_seconds, fraction)
    if cut is not None:
        data = {"rate": cut.rate, "until": cut.until, "row": cut.row, "code": code}
        scribe.write(journal.throttle_key(number), "throttle", home, data)
