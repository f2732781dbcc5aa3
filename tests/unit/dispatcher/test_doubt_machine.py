"""Whatever Meta does and says, in whatever order, and whenever the owner dies: who is called again, and who never.

Beside the lane stands Meta's own truth: which attempts it has, which of them reached nobody, and what of that the lane
was told. Each new call is judged by it. At the end every message stands where the truth puts it, and second sendings
are counted exactly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from harkara.contracts.lifecycle import ENDS, MessageLifecycle, advance
from harkara.dispatcher.evidence import WINDOW_CLOSED, take_echo
from harkara.dispatcher.plan import last_gate
from harkara.graph_api.outcome import Accepted, InDoubt, NotSent, Outcome
from harkara.policy.lane import AUTH_FAILURES_ALLOWED
from tests.unit.dispatcher.lanes import HOME, ONE, TWO, HandDriven, iso, order, policy, refused

LIFE_SECONDS = 1800.0
QUARANTINE_SECONDS = 14.0
RESENT_BY_THE_CLOCK = ("authentication", "utility")
HALTING = refused(190, 401)
WINDOW = refused(WINDOW_CLOSED)
SPENDING: tuple[Outcome, ...] = (refused(131016, 500), refused(131056))
OUTCOMES: list[Outcome] = [
    Accepted("wamid.A"), InDoubt("timeout"), InDoubt("http_5xx"), NotSent("lease"), NotSent("connect"), HALTING, WINDOW,
    refused(131026), refused(132015), refused(131048), *SPENDING,
    Accepted("wamid.A", message_status="held_for_quality_assessment"),
]  # fmt: skip

OFTEN: list[Outcome] = [Accepted("wamid.A"), InDoubt("timeout"), NotSent("lease")]
TELLING: list[Outcome] = [*OUTCOMES, *OFTEN * 3]


@dataclass
class Truth:
    """One message: its attempts that Meta may have, what the lane knows of them, what it may still do."""

    category: str
    received_at: float
    expires_at: float
    duplicate_ok: bool
    called_at: dict[int, float] = field(default_factory=dict)
    forms: dict[int, str] = field(default_factory=dict)
    numbers: dict[int, str] = field(default_factory=dict)
    may_have: set[int] = field(default_factory=set)
    known: set[int] = field(default_factory=set)
    reached_nobody: set[int] = field(default_factory=set)
    refused_texts: set[int] = field(default_factory=set)
    by_hand: set[int] = field(default_factory=set)
    accepted: bool = False
    spent: int = 0
    granted: int = 0
    resends: dict[int, str] = field(default_factory=dict)
    window_closed: bool = False


class DoubtMachine(RuleBasedStateMachine):
    """Orders, outcomes, statuses, crashes, operators, halts and time."""

    def __init__(self) -> None:
        super().__init__()
        waits = {"authentication": 5.0, "utility": 30.0, "marketing": 60.0, "service": 60.0}
        self.lane = HandDriven(capacity=3, policy=policy(in_doubt_timeout_seconds=waits))
        self.truth: dict[str, Truth] = {}
        self.cancelled_at: dict[str, float] = {}
        self.halted_by_state: set[str] = set()
        self.halted_by_lane: set[str] = set()
        self.auth_failures: Counter[str] = Counter()
        self.version = 0
        self.judged = 0
        self.statuses: list[MessageLifecycle] = []

    # ---- what may be called -------------------------------------------------------------------------------------

    def judge(self) -> None:
        """Every call since the last time."""
        for message_id, attempt, number, form in self.lane.attempts[self.judged :]:
            truth = self.truth[message_id]
            assert number not in self.halted_by_state | self.halted_by_lane, "called by a number that is halted"
            assert self.auth_failures[number] < AUTH_FAILURES_ALLOWED, "called with a token that was refused thrice"
            assert self.lane.now < truth.expires_at, "called after its deadline"
            assert self.cancelled_at.get(message_id, 0.0) < truth.received_at, "called after it was cancelled"
            assert not truth.known, "called again although Meta is known to have it"
            assert attempt == max(truth.called_at, default=0) + 1, "attempts are numbered one by one"
            assert not (truth.window_closed and form == "session"), "a text again into a closed window"
            assert truth.spent < 3 or truth.granted or truth.window_closed, "more than three attempts"
            if truth.may_have:
                self.judge_resend(truth, attempt, number)
            truth.called_at[attempt], truth.forms[attempt], truth.numbers[attempt] = self.lane.now, form, number
            truth.may_have.add(attempt)
        self.judged = len(self.lane.attempts)
        for message_id, message in self.lane.state.messages.items():
            with_meta = self.truth[message_id].known - self.truth[message_id].reached_nobody
            assert not (with_meta and message.status in ("in_doubt", "unknown")), "in doubt although it is known"

    def judge_resend(self, truth: Truth, attempt: int, number: str) -> None:
        """A call while Meta may have an older attempt: only by an operator's grant, or once by the category's policy
        and then from the same number; and never while the older call may still begin or be under way. One that Meta
        refuses uses up no grant."""
        latest = max(truth.called_at[attempt] for attempt in truth.may_have)
        assert self.lane.now >= latest + QUARANTINE_SECONDS, "resent while the older call may be under way"
        if truth.granted:
            truth.granted -= 1
            truth.resends[attempt] = "operator"
            return
        assert truth.category in RESENT_BY_THE_CLOCK, "resent by the clock against its category"
        assert truth.category == "authentication" or truth.duplicate_ok, "resent without the intent's leave"
        assert "clock" not in truth.resends.values(), "resent twice by the clock"
        assert number in {truth.numbers[each] for each in truth.may_have}, "resent by the clock from another number"
        truth.resends[attempt] = "clock"

    # ---- what happens -------------------------------------------------------------------------------------------

    @rule(
        numbers=st.sampled_from([(ONE,), (TWO,), (ONE, TWO)]),
        category=st.sampled_from(["marketing", "utility", "authentication", "authentication", "service"]),
        form=st.sampled_from(["session", "template"]),
        fallback=st.booleans(),
        duplicate_ok=st.booleans(),
    )
    def order_arrives(
        self, numbers: tuple[str, ...], category: str, form: str, fallback: bool, duplicate_ok: bool
    ) -> None:
        message_id = f"message-{len(self.truth) + 1}"
        now = self.lane.now
        made = order(
            message_id, numbers, category=category, form=form, at=now, life=LIFE_SECONDS, duplicate_ok=duplicate_ok,
            run_id=f"run-{len(self.truth) % 3}",
        )  # fmt: skip
        if fallback and form == "session":
            made["plan"].append({"phone_number_id": numbers[0], "form": "template"})
        self.truth[message_id] = Truth(category, now, now + LIFE_SECONDS, duplicate_ok)
        self.lane.take(made)
        self.judge()

    @precondition(lambda self: self.truth)
    @rule(which=st.integers(0, 10_000))
    def order_comes_again(self, which: int) -> None:
        message_id = f"message-{which % len(self.truth) + 1}"
        self.lane.take(order(message_id, at=self.truth[message_id].received_at))
        self.judge()

    @precondition(lambda self: self.lane.under_way)
    @rule(which=st.integers(0, 10_000), outcome=st.sampled_from(OUTCOMES))
    def call_ends(self, which: int, outcome: Outcome) -> None:
        message_id, attempt = self.lane.under_way[which % len(self.lane.under_way)]
        truth = self.truth[message_id]
        number = truth.numbers[attempt]
        if outcome is WINDOW and truth.forms[attempt] != "session":
            outcome = NotSent("lease")
        message = self.lane.state.messages.get(message_id)
        awaited = message is not None and message.attempt == attempt and not message.waiting
        if isinstance(outcome, Accepted):
            if attempt not in truth.refused_texts:  # that Meta took it at first says nothing of what goes in its place
                truth.known.add(attempt)
            truth.accepted = True
        elif isinstance(outcome, InDoubt):
            truth.spent += 1
        elif attempt not in truth.known and attempt not in truth.reached_nobody:
            truth.may_have.discard(attempt)
            truth.granted += truth.resends.pop(attempt, None) == "operator"
            truth.spent += outcome in SPENDING or outcome is WINDOW
            truth.window_closed |= outcome is WINDOW
        if outcome is HALTING:
            if awaited and number not in self.halted_by_lane:
                self.auth_failures[number] += 1
            self.halted_by_lane |= {ONE, TWO}  # they share the token
        elif isinstance(outcome, Accepted) and awaited:
            self.auth_failures[number] = 0
        self.lane.answer(outcome, message_id, attempt)
        self.judge()

    @precondition(lambda self: self.lane.under_way)
    @rule(which=st.integers(0, 10_000))
    def answer_is_lost(self, which: int) -> None:
        """What this is about, so it comes more often."""
        self.call_ends(which, InDoubt("timeout"))

    @rule(
        numbers=st.sampled_from([(ONE,), (TWO,)]),
        form=st.sampled_from(["session", "template"]),
        category_and_seconds=st.sampled_from(
            [("authentication", 15.0)] * 5 + [("authentication", 6.0), ("utility", 31.0), ("marketing", 61.0)]
        ),
        asked=st.booleans(),
    )
    def a_message_may_be_sent_again(
        self, numbers: tuple[str, ...], form: str, category_and_seconds: tuple[str, float], asked: bool
    ) -> None:
        """The way into most of what is judged here, which chance alone finds seldom."""
        category, seconds = category_and_seconds
        self.order_arrives(numbers, category, form, True, False)
        newest = (f"message-{len(self.truth)}", 1)
        if newest in self.lane.under_way:
            self.call_ends(self.lane.under_way.index(newest), InDoubt("timeout"))
            if asked:
                self.operator_resolves(len(self.truth) - 1, "resend")
            self.time_passes(seconds, 1)

    @precondition(lambda self: self.lane.attempts)
    @rule(which=st.integers(0, 10_000))
    def status_of_a_resent_message_comes(self, which: int) -> None:
        """Of one of its attempts, often while another is under way."""
        resent = [index for index, each in enumerate(self.lane.attempts) if len(self.truth[each[0]].may_have) > 1]
        if resent:
            self.status_comes(resent[which % len(resent)], None)

    @precondition(lambda self: self.lane.under_way)
    @rule(which=st.integers(0, 10_000), outcome=st.sampled_from(TELLING))
    def an_older_status_comes_during_a_call_that_ends(self, which: int, outcome: Outcome) -> None:
        """The order in which most can be forgotten."""
        calls = [each for each in self.lane.under_way if len(self.truth[each[0]].may_have) > 1]
        if calls:
            message_id, attempt = calls[which % len(calls)]
            older = min(self.truth[message_id].may_have)
            made = [(each[0], each[1]) for each in self.lane.attempts]
            self.status_comes(made.index((message_id, older)), None)
            if (message_id, attempt) in self.lane.under_way:
                index = self.lane.under_way.index((message_id, attempt))
                self.call_is_stopped_at_the_last_gate(index)
                self.call_ends(index, outcome)

    @precondition(lambda self: self.lane.under_way)
    @rule(which=st.integers(0, 10_000), outcome=st.sampled_from(TELLING))
    def the_window_is_found_closed_during_the_call(self, which: int, outcome: Outcome) -> None:
        """The status overtakes the answer; the answer comes while the template is under way."""
        call = self.lane.under_way[which % len(self.lane.under_way)]
        made = [(each[0], each[1]) for each in self.lane.attempts]
        self.status_comes(made.index(call), WINDOW_CLOSED)
        if call in self.lane.under_way:
            self.call_ends(self.lane.under_way.index(call), outcome)

    @precondition(lambda self: self.lane.under_way)
    @rule(which=st.integers(0, 10_000))
    def call_is_stopped_at_the_last_gate(self, which: int) -> None:
        """In the instant before the first byte: what the gate lets pass is judged as if it were called now."""
        message_id, attempt = self.lane.under_way[which % len(self.lane.under_way)]
        message = self.lane.state.messages.get(message_id)
        if message is None or message.attempt != attempt or message.status != "attempting":
            return
        why_not = last_gate(self.lane.state, self.lane.around, message, self.lane.now)
        truth = self.truth[message_id]
        others = truth.known - {attempt}
        assert why_not is not None or not others, "the gate lets through what Meta is known to have"
        assert why_not is not None or message.number not in self.halted_by_state | self.halted_by_lane

    @precondition(lambda self: self.lane.attempts)
    @rule(which=st.integers(0, 10_000), failed=st.sampled_from([None, None, None, WINDOW_CLOSED, 131026]))
    def status_comes(self, which: int, failed: int | None) -> None:
        """Of any attempt that Meta may have, at any time: early, late, again."""
        message_id, attempt, number, form = self.lane.attempts[which % len(self.lane.attempts)]
        truth = self.truth[message_id]
        if attempt not in truth.may_have | truth.reached_nobody:
            return
        told_by_meta = attempt in truth.known - truth.by_hand
        if attempt in truth.reached_nobody or (failed is not None and (told_by_meta or form == "template")):
            return  # Meta tells one story of each attempt
        if failed is not None and truth.accepted and failed != WINDOW_CLOSED:
            return
        if failed is None:
            truth.known.add(attempt)
        else:
            truth.reached_nobody.add(attempt)
            # not remembered of an older attempt: at worst one more text is refused, and then it goes as a template
            truth.window_closed |= failed == WINDOW_CLOSED and attempt == max(truth.called_at)
            if failed == WINDOW_CLOSED:
                truth.refused_texts.add(attempt)
                truth.known.discard(attempt)
                truth.may_have.discard(attempt)
                truth.granted += truth.resends.pop(attempt, None) == "operator"
            elif attempt == max(truth.called_at):
                truth.known.add(attempt)
        values = {"message_id": message_id, "home": HOME, "status": "sent" if failed is None else "failed",
                  "attempt": attempt, "wamid": "wamid.E", "at": iso(self.lane.now)}  # fmt: skip
        self.statuses.append(MessageLifecycle.model_validate(values))
        self.lane.write(
            lambda scribe: take_echo(
                scribe, self.lane.around, message_id, attempt, "wamid.E", number, self.lane.now, failed
            )
        )
        self.lane.round()
        self.judge()

    @rule(seconds=st.sampled_from([0.05, 1.1, 6.0, 9.5, 15.0, 31.0, 61.0, 901.0]), webhooks=st.sampled_from([1, 1, 0]))
    def time_passes(self, seconds: float, webhooks: int) -> None:
        """With `webhooks`, statuses of other messages show that they arrive."""
        if webhooks:
            self.lane.now += seconds - 0.01
            seconds = 0.01
            self.lane.write(lambda scribe: take_echo(scribe, self.lane.around, "another", 1, None, ONE, self.lane.now))
        self.lane.round(seconds)
        self.judge()

    @precondition(lambda self: self.truth)
    @rule(which=st.integers(0, 10_000), resolution=st.sampled_from(["sent", "resend", "drop"]))
    def operator_resolves(self, which: int, resolution: str) -> None:
        message_id = f"message-{which % len(self.truth) + 1}"
        message = self.lane.state.messages.get(message_id)
        if message is None or message.status not in ("in_doubt", "unknown"):
            return
        if resolution == "resend":
            self.truth[message_id].granted += 1
        elif resolution == "sent":
            self.truth[message_id].known.add(message.attempt)
            self.truth[message_id].by_hand.add(message.attempt)
        self.version += 1
        self.lane.command("resolve_in_doubt", message_id, resolution=resolution, command_id=f"c{self.version}")
        self.judge()

    @precondition(lambda self: self.truth)
    @rule(which=st.integers(0, 10_000))
    def cancelled(self, which: int) -> None:
        message_id = f"message-{which % len(self.truth) + 1}"
        self.cancelled_at[message_id] = self.lane.now
        self.lane.now += 0.01
        self.lane.command("cancel_message", message_id)
        self.judge()

    @rule(
        number=st.sampled_from([ONE, TWO]),
        verdict=st.sampled_from(["open", "halted", "paused"]),
        resumed=st.booleans(),
    )
    def number_is_said_to_be(self, number: str, verdict: str, resumed: bool) -> None:
        """A health poll says `open` too: only a resume ends a halt of the lane's own."""
        self.version += 1
        self.lane.now += 0.01
        if verdict == "halted":
            self.halted_by_state.add(number)
        else:
            self.halted_by_state.discard(number)
            self.halted_by_lane -= {number} if resumed else set()
        until = self.lane.now + 30 if verdict == "paused" else None
        resumed_at = self.lane.now if resumed else None
        self.lane.verdict(number, verdict, self.version, until, resumed_at)  # type: ignore[arg-type]
        self.judge()

    @rule()
    def owner_dies(self) -> None:
        """The next owner knows what was committed; what was being called is in doubt for it."""
        for message_id, attempt in self.lane.under_way:
            message = self.lane.state.messages.get(message_id)
            if message is not None and message.attempt == attempt and message.seen is None:
                self.truth[message_id].spent += 1
        self.lane.crash()
        self.lane.round()
        self.judge()

    # ---- how it ends --------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Every call ends unanswered, every number opens, time passes: then the lane's story is the truth."""
        for message_id, attempt in list(self.lane.under_way):
            self.lane.answer(InDoubt("timeout"), message_id, attempt)
            self.judge()
        self.let_everything_end()
        told = Counter(entry.key.partition("/")[0] for entry in self.lane.journal if entry.kind == "duplicate")
        shown = self.lane.shown()
        for event in self.statuses:
            shown[str(event.message_id)] = advance(shown[str(event.message_id)], event)
        for message_id, truth in self.truth.items():
            status = str(shown[message_id]["status"])
            assert status in ENDS | {"submitted", "sent"}, (message_id, status)
            reached = truth.known - truth.reached_nobody
            if reached:
                assert status in ("submitted", "sent") or truth.reached_nobody, (message_id, status, truth)
            if truth.reached_nobody:  # which of them reached somebody, and when that was known, is Meta's story
                assert told[message_id] < max(1, len(truth.called_at)), (message_id, told[message_id], truth)
            else:
                assert told[message_id] == max(0, len(reached) - 1), (message_id, told[message_id], truth)

    def let_everything_end(self) -> None:
        """Every number opens, every call is accepted, time passes."""
        for number in (ONE, TWO):
            self.halted_by_state.discard(number)
            self.halted_by_lane.discard(number)
            self.lane.now += 0.01
            self.lane.verdict(number, "open", self.version + 1, resumed_at=self.lane.now)
            self.judge()
        for _ in range(60):
            for message_id, attempt in list(self.lane.under_way):
                self.truth[message_id].known.add(attempt)
                self.lane.answer(Accepted("wamid.A"), message_id, attempt)
                self.judge()
            self.lane.round(61.0)
            self.judge()
        self.lane.round(2 * 86_400.0)
        self.judge()


TestDoubt = DoubtMachine.TestCase
TestDoubt.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestDoubt = pytest.mark.req("B1", "B4", "DSP-14", "SEC-4")(TestDoubt)
