"""The circuit breaker of one number's endpoint (requirement rows FHL-3, FHL-10, DSP-15).

closed      calls start at the number's pace
open        no call starts until a time: at once where the endpoint cannot be reached or no request can be made to it
            (nothing has left, no message is harmed; of the latter somebody is told), after OPENS_AFTER calls in a row
            that Meta did not serve: time-outs, cut connections, 5xx, codes that say that Meta is unwell. Each such call
            may leave a message in doubt, so a flood must end soon
half-open   the time is over: one call at a time, until one is served (closed) or not (open for twice as long)

An answer of Meta, be it a refusal, shows that the endpoint works. The hold is journaled with the count of openings in
a row and stays there until a call is served, so a restart neither opens the gates nor leaves them half-open; only the
count of failures below OPENS_AFTER begins anew. Once it stays open for longer than a moment, what waits goes by another
number of its plan; what has none keeps its place in the queue, so a breaker that flaps writes nothing of messages.
"""

from __future__ import annotations

from harkara.dispatcher import journal
from harkara.dispatcher.holds import hold
from harkara.dispatcher.plan import BREAKER_REASONS, RESTING_TRIPS
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import LaneState
from harkara.graph_api.errors import ErrorClass, Scope
from harkara.graph_api.outcome import IMPOSSIBLE, Accepted, InDoubt, NotSent, Outcome, Refused

OPENS_AFTER = 5  # by chance, with one call in ten unanswered, this happens once in 100,000 calls
FIRST_OPEN_SECONDS = 0.5
LONGEST_OPEN_SECONDS = 30.0  # a far side that is back is found within this time
MOST_TRIPS = 10  # counted; the longest time is reached at the seventh

BREAKER_STATES = ("closed", "open", "half_open")
NOT_REACHABLE, FAILING, SERVED = "not_reachable", "endpoint_failing", "served"
NOT_POSSIBLE = "request_impossible"


def note_outcome(scribe: Scribe, number: str, home: str, outcome: Outcome) -> None:
    """What a call's outcome says of the number's endpoint."""
    word = verdict_on(outcome)
    lane = scribe.state.number(number)
    if word is None:
        return
    if word == SERVED:
        lane.failures_in_a_row = 0
        standing = scribe.state.holds.get(("number", number)) if scribe.state.holds else None
        if standing is not None and standing.reason in BREAKER_REASONS:
            scribe.erase(journal.hold_key("number", number))
        return
    lane.failures_in_a_row += 1
    standing = scribe.state.holds.get(("number", number))
    if standing is not None and (standing.until is None or standing.until > scribe.now):
        return  # it is open already: calls that began before end now
    if word in (NOT_REACHABLE, NOT_POSSIBLE) or lane.trips or lane.failures_in_a_row >= OPENS_AFTER:
        trips = min(lane.trips + 1, MOST_TRIPS)
        moves = trips == RESTING_TRIPS  # once: what stays then has no other way
        told = {"trips": trips, "moves": moves} | ({"alert": True} if word == NOT_POSSIBLE else {})
        hold(scribe, home, "number", number, word, scribe.now + open_seconds(trips), **told)


def open_seconds(trips: int) -> float:
    """How long the breaker stays open at its so-many-th opening in a row."""
    return min(FIRST_OPEN_SECONDS * 2.0 ** (trips - 1), LONGEST_OPEN_SECONDS)


def verdict_on(outcome: Outcome) -> str | None:
    """SERVED, NOT_REACHABLE, NOT_POSSIBLE or FAILING; None where the outcome says nothing of the endpoint (we did not
    call)."""
    if isinstance(outcome, Accepted):
        return SERVED
    if isinstance(outcome, NotSent):
        if outcome.reason == IMPOSSIBLE:
            return NOT_POSSIBLE
        return NOT_REACHABLE if outcome.reason in ("connect", "pool", "closed") else None
    if isinstance(outcome, InDoubt):
        return FAILING
    if isinstance(outcome, Refused) and outcome.policy.error_class is ErrorClass.TEMPORARY:
        return FAILING if outcome.policy.scope is Scope.MESSAGE else SERVED
    return SERVED


def state_of(state: LaneState, number: str, now: float) -> str:
    """One of BREAKER_STATES, for operators."""
    standing = state.holds.get(("number", number))
    if standing is not None and standing.reason in BREAKER_REASONS and (standing.until or 0.0) > now:
        return "open"
    lane = state.numbers.get(number)
    return "half_open" if lane is not None and lane.trips else "closed"
