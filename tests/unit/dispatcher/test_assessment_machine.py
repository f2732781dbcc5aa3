"""Meta tries templates out, lets them through or drops them, its answers and statuses come in any order, the owner
dies: which calls a lane makes then. Meta's own truth stands beside the lane, and each call is judged by it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from harkara.dispatcher.assessment import TRIED_EVERY_SECONDS
from harkara.dispatcher.hold import Hold
from harkara.graph_api.outcome import Accepted
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, TWO, HandDriven, order
from tests.unit.dispatcher.test_assessment import compacted

NAMES = ("daily_update", "weekly_update")
LIFE_SECONDS = 30 * 86_400.0
PAUSED_SECONDS = 3600.0
STEPS = (0.5, 5.0, 61.0, TRIED_EVERY_SECONDS, PAUSED_SECONDS)


class AssessmentMachine(RuleBasedStateMachine):
    """`assessed`: which templates Meta holds the messages of now; `held`: those that it holds, by template."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = HandDriven(capacity=3)
        self.assessed: set[str] = set()
        self.template: dict[str, str] = {}
        self.held: dict[str, list[tuple[str, int, str]]] = {name: [] for name in NAMES}
        self.moved: list[tuple[str, int, str]] = []
        self.word: dict[tuple[str, int], Accepted] = {}  # what Meta made of a call when it came
        self.called_at: dict[tuple[str, int], float] = {}
        self.judged = 0

    def hold(self, name: str) -> Hold | None:
        return self.lane.state.holds.get(("template", f"waba-1/{name}:en"))

    def judge(self, before: dict[str, Hold | None]) -> None:
        """Every new call, by the holds that stood `before` and stand yet: of a template that waits there is none; of
        one that is tried, one."""
        for message_id, attempt, *_ in self.lane.attempts[self.judged :]:
            name = self.template[message_id]
            held = Accepted("wamid.A", message_status="held_for_quality_assessment")
            self.called_at[(message_id, attempt)] = self.lane.now
            self.word[(message_id, attempt)] = held if name in self.assessed else ACCEPTED
            hold = self.hold(name)
            if hold is not None and hold == before[name]:
                assert hold.until is not None and hold.until <= self.lane.now, "called while the template waits"
        self.judged = len(self.lane.attempts)
        for message in self.lane.state.messages.values():
            hold = self.hold(self.template[message.message_id])
            if message.status == "held":
                assert hold is not None and message.reason == hold.reason, "waits for what is over"
        for name in NAMES:
            hold = self.hold(name)
            since = 0.0 if hold is None or hold.until is None else hold.until
            tried = [each for each in self.lane.under_way if self.called_at[each] >= since]
            of_it = [message_id for message_id, _ in tried if self.template[message_id] == name]
            assert hold is None or len(of_it) <= 1, "one message tries it"

    def standing(self) -> dict[str, Hold | None]:
        return {name: self.hold(name) for name in NAMES}

    @rule(name=st.sampled_from(NAMES), number=st.sampled_from([ONE, TWO]), count=st.integers(1, 4))
    def orders_arrive(self, name: str, number: str, count: int) -> None:
        before = self.standing()
        for _ in range(count):
            message_id = f"message-{len(self.template)}"
            self.template[message_id] = name
            template = {"type": "template", "name": name, "language": "en"}
            made = order(message_id, (number,), template=template, at=self.lane.now, life=LIFE_SECONDS)
            self.lane.take(made, start=False)
        self.lane.round()
        self.judge(before)

    @rule(name=st.sampled_from(NAMES), tries_out=st.booleans())
    def meta_decides(self, name: str, tries_out: bool) -> None:
        """It begins to try the template out, or has seen enough and sends on what it holds."""
        if tries_out:
            self.assessed.add(name)
        else:
            self.assessed.discard(name)
            self.moved += self.held[name]
            self.held[name] = []

    @precondition(lambda self: self.lane.under_way)
    @rule(which=st.integers(0, 10_000), seconds=st.sampled_from([0.0, 0.5]))
    def call_ends(self, which: int, seconds: float) -> None:
        self.lane.now += seconds
        before = self.standing()
        message_id, attempt = self.lane.under_way[which % len(self.lane.under_way)]
        outcome, name = self.word[(message_id, attempt)], self.template[message_id]
        number = next(each[2] for each in self.lane.attempts if each[:2] == (message_id, attempt))
        if outcome.message_status is not None:
            (self.held[name] if name in self.assessed else self.moved).append((message_id, attempt, number))
        self.lane.answer(outcome, message_id, attempt)
        if outcome.message_status is not None:
            assert self.hold(name) is not None, "its template does not wait"
        elif before[name] is not None and before[name] == self.hold(name):
            assert (before[name].until or 0.0) > self.lane.now, "taken plainly, and it is not over"  # type: ignore[union-attr]
        self.judge(before)

    @precondition(lambda self: self.moved)
    @rule(which=st.integers(0, 10_000), again=st.booleans())
    def status_comes(self, which: int, again: bool) -> None:
        """Of one that Meta held: late, in any order, more than once."""
        before, index = self.standing(), which % len(self.moved)
        message_id, attempt, number = self.moved[index]
        if not again:
            del self.moved[index]
        self.lane.echo(message_id, attempt, number)
        for name in NAMES:
            hold, other = before[name], name != self.template[message_id]
            if hold is not None and (other or message_id not in hold.with_meta):
                assert self.hold(name) is not None, "ended by a message that it does not hold"
        self.judge(before)

    @precondition(lambda self: any(self.held.values()))
    @rule(name=st.sampled_from(NAMES))
    def meta_drops_what_it_holds(self, name: str) -> None:
        before = self.standing()
        for message_id, attempt, number in self.held[name]:
            self.lane.failed(132015, message_id, attempt, number=number)
            hold = self.hold(name)
            assert hold is not None and hold.reason == "meta_132015"
        self.held[name] = []
        self.judge(before)

    @rule(seconds=st.sampled_from(STEPS))
    def time_passes(self, seconds: float) -> None:
        before = self.standing()
        self.lane.round(seconds)
        self.judge(before)

    @rule(step=st.sampled_from([-PAUSED_SECONDS, -2.0, 2.0, PAUSED_SECONDS]))
    def the_clock_is_set(self, step: float) -> None:
        self.lane.now += step
        self.called_at = {call: at + step for call, at in self.called_at.items()}
        self.lane.write(lambda scribe: scribe.clock_set(step))
        before = self.standing()
        self.lane.round()
        self.judge(before)

    @rule(by_compaction=st.booleans())
    def owner_dies(self, by_compaction: bool) -> None:
        """Whom it was calling is in doubt for the next one; what waits, and for which of Meta's statuses, is the
        same."""
        before = self.standing()
        if by_compaction:
            self.lane.journal = compacted(self.lane.journal)
        self.lane.crash()
        assert self.standing() == before
        self.lane.round()
        self.judge(before)

    def teardown(self) -> None:
        """Meta has seen enough of everything; no status comes any more: all that waits goes within a day."""
        self.assessed.clear()
        for _ in range(30):
            while self.lane.under_way:
                self.call_ends(0, 0.0)
            self.time_passes(PAUSED_SECONDS)
        assert not [each for each in self.lane.state.messages.values() if each.waiting]
        assert not self.lane.state.holds


TestAssessment = AssessmentMachine.TestCase
TestAssessment.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestAssessment = pytest.mark.req("B13")(TestAssessment)
