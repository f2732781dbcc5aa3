"""Whatever happens in whatever order, and whenever the process dies: no second call without an outcome between, no
window exceeded, every order ends."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harkara.contracts.lifecycle import ENDS
from harkara.dispatcher.state import LaneState
from harkara.graph_api.outcome import Accepted, InDoubt, NotSent, Outcome
from harkara.policy.pacing import Limits
from tests.unit.dispatcher.lanes import ONE, TWO, HandDriven, order, refused

PER_SECOND, PER_MINUTE = 3, 9
LIFE_SECONDS = 1800.0
OUTCOMES: list[Outcome] = [
    Accepted("wamid.A"),
    InDoubt("timeout"),
    NotSent("lease"),
    NotSent("connect"),
    refused(131016, 500),
    refused(131056),
    refused(130429),
    refused(131048),
    refused(131047),
    refused(132015),
    refused(131026),
    refused(190, 401),
]


class LaneMachine(RuleBasedStateMachine):
    """Orders, outcomes, echoes, crashes, commands, halts and time; beside it Meta's view: what it may have taken."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = HandDriven(limits=Limits(per_second=PER_SECOND, per_minute=PER_MINUTE), capacity=4)
        self.count = 0
        self.version = 0
        self.called_at: dict[str, list[float]] = defaultdict(list)
        self.made: dict[tuple[str, int], tuple[str, float]] = {}
        self.seen = 0
        self.maybe_taken: dict[str, int] = defaultdict(int)
        self.before_crash: list[tuple[str, int]] = []

    def _note(self) -> None:
        """Every new call may have been taken; the call of a message whose older call may have been is a duplicate."""
        for message_id, attempt, number, _ in self.lane.attempts[self.seen :]:
            self.called_at[number].append(self.lane.now)
            self.made[message_id, attempt] = number, self.lane.now
            assert self.maybe_taken[message_id] == 0, "called again although Meta may have it"
            self.maybe_taken[message_id] += 1
        self.seen = len(self.lane.attempts)

    @rule(
        priority=st.sampled_from([1, 2, 3]),
        numbers=st.sampled_from([(ONE,), (TWO,), (ONE, TWO)]),
        category=st.sampled_from(["marketing", "utility", "service"]),
        form=st.sampled_from(["session", "template"]),
    )
    def order_arrives(self, priority: int, numbers: tuple[str, ...], category: str, form: str) -> None:
        self.count += 1
        made = order(
            f"message-{self.count}", numbers, priority=priority, category=category, form=form,
            run_id=f"run-{self.count % 3}", person_key=f"person-{self.count % 4}", at=self.lane.now, life=LIFE_SECONDS,
        )  # fmt: skip
        self.lane.take(made)
        self._note()

    @precondition(lambda self: self.count)
    @rule(which=st.integers(0, 10_000))
    def order_comes_again(self, which: int) -> None:
        self.lane.take(order(f"message-{which % self.count + 1}", at=self.lane.now))
        self._note()

    @precondition(lambda self: self.lane.under_way)
    @rule(which=st.integers(0, 10_000), outcome=st.sampled_from(OUTCOMES))
    def call_ends(self, which: int, outcome: Outcome) -> None:
        message_id, attempt = self.lane.under_way[which % len(self.lane.under_way)]
        if not isinstance(outcome, Accepted | InDoubt):
            self.maybe_taken[message_id] -= 1
        if isinstance(outcome, NotSent):  # it never left: for Meta there was no call
            number, at = self.made[message_id, attempt]
            self.called_at[number].remove(at)
        self.lane.answer(outcome, message_id, attempt)
        self._note()

    @precondition(lambda self: self.lane.attempts)
    @rule(which=st.integers(0, 10_000))
    def echo_comes(self, which: int) -> None:
        """Only of what Meta may have."""
        message_id, attempt, number, _ = self.lane.attempts[which % len(self.lane.attempts)]
        newest = max(n for m, n, _, _ in self.lane.attempts if m == message_id)
        if self.maybe_taken[message_id] and attempt == newest:
            self.lane.echo(message_id, attempt, number)
            self._note()

    @rule(seconds=st.sampled_from([0.05, 0.4, 1.1, 7.0, 61.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.lane.round(seconds)
        self._note()

    @rule(whom=st.integers(0, 2), kind=st.sampled_from(["cancel_run", "cancel_recipient"]))
    def cancelled(self, whom: int, kind: str) -> None:
        self.lane.command(kind, f"run-{whom}" if kind == "cancel_run" else f"person-{whom}")
        self._note()

    @rule(number=st.sampled_from([ONE, TWO]), verdict=st.sampled_from(["open", "halted", "paused", "pause_proactive"]))
    def number_is_said_to_be(self, number: str, verdict: str) -> None:
        self.version += 1
        until = self.lane.now + 30 if verdict == "paused" else None
        self.lane.now += 0.01
        self.lane.verdict(number, verdict, self.version, until)  # type: ignore[arg-type]
        self._note()

    @rule()
    def owner_dies(self) -> None:
        """The next owner knows what was committed, and nothing else."""
        before = self.lane.state
        self.lane.crash()
        assert facts_of(self.lane.state) == facts_of(before)
        self.lane.round()
        self._note()

    @invariant()
    def windows_hold(self) -> None:
        for times in self.called_at.values():
            for limit, seconds in ((PER_SECOND, 1.0), (PER_MINUTE, 60.0)):
                for index in range(len(times) - limit):
                    assert times[index + limit] - times[index] >= seconds - 1e-6

    @invariant()
    def indexes_hold(self) -> None:
        counted: dict[tuple[str, str], int] = defaultdict(int)
        for message in self.lane.state.messages.values():
            if message.account is not None:
                counted[message.account] += 1
        assert {account: count for account, count in self.lane.state.tallies.items() if count} == counted

    def teardown(self) -> None:
        """However it stands: every number opens, every call ends, time passes; then nothing is left without an end."""
        for number in (ONE, TWO):
            self.number_is_said_to_be(number, "open")
        for _ in range(400):
            for message_id, attempt in list(self.lane.under_way):
                self.lane.answer(Accepted("wamid.A"), message_id, attempt)
            self.lane.round(61.0)
            self._note()
        self.lane.round(2 * 86_400.0)
        for message_id, state in self.lane.shown().items():
            assert state["status"] in ENDS | {"submitted"}, (message_id, state)


def facts_of(state: LaneState) -> dict[str, tuple[object, ...]]:
    """What a new owner must know of each message; what was being called is in doubt for it."""
    return {
        message_id: (
            "in_doubt" if message.status == "attempting" else message.status,
            message.attempt,
            message.template_only,
            message.resent,
        )
        for message_id, message in state.messages.items()
    }


TestLane = LaneMachine.TestCase
TestLane.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLane = pytest.mark.req("DSP-1", "DSP-19")(TestLane)
