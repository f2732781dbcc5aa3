"""One message with a fallback, and whatever Meta says in whatever order, whenever the owner dies: when it may go on.
The first is a template, the other a text, so the form of a call tells which content it carries."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from harkara.dispatcher.evidence import take_echo
from harkara.dispatcher.plan import last_gate
from harkara.graph_api.errors import policy_for
from harkara.graph_api.outcome import Accepted, InDoubt, NotSent, Outcome
from tests.unit.dispatcher.lanes import ONE, HandDriven, order, policy, refused

LIFE_SECONDS, AFTER_SECONDS = 3600.0, 300
TIMES = (1.0, 10.0, 40.0, AFTER_SECONDS - 20.0, AFTER_SECONDS + 1.0, LIFE_SECONDS)
CODES = (131053, 132000, 131026, 131049, 0)
OUTCOMES: list[Outcome] = [
    Accepted("wamid.A"), Accepted("wamid.B"), InDoubt("timeout"), NotSent("lease"), refused(132000), refused(131026),
    refused(131016, 500),
]  # fmt: skip
TEXT = {"type": "text", "body": "The other content."}
FALLBACK = {"plan": [{"phone_number_id": ONE, "form": "session"}], "session": TEXT, "after_seconds": AFTER_SECONDS}


class FallbackMachine(RuleBasedStateMachine):
    """Meta may say anything of an attempt that was called; the lane's word for it is judged at each new call."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = HandDriven(policy=policy(in_doubt_timeout_seconds={"utility": 30.0, "marketing": 60.0}))
        self.told: dict[int, set[str]] = {}  # of each attempt what the lane was told
        self.mended: set[int] = set()  # attempts that failed for what another content mends
        self.called_at: dict[int, float] = {}
        self.settled_at: dict[int, float] = {}  # since when an attempt is known to be with Meta
        self.judged = 0
        self.cancelled = False

    @initialize(duplicate_ok=st.booleans(), category=st.sampled_from(["utility", "marketing"]), accepted=st.booleans())
    def order_arrives(self, duplicate_ok: bool, category: str, accepted: bool) -> None:
        self.duplicate_ok = duplicate_ok
        self.expires_at = self.lane.now + LIFE_SECONDS
        made = order(duplicate_ok=duplicate_ok, category=category, life=LIFE_SECONDS, fallback=FALLBACK)
        self.lane.take(made)
        self.judge()
        if accepted:
            self.call_ends(Accepted("wamid.A"))

    def judge(self) -> None:
        """Every new call."""
        for _, attempt, _, form in self.lane.attempts[self.judged :]:
            self.called_at[attempt] = self.lane.now
            if form == "session":
                self.judge_fallback(attempt)
            else:
                texts = [number for _, number, _, other in self.lane.attempts if other == "session"]
                assert not texts or attempt < min(texts), "the first content again after the other"
        self.judged = len(self.lane.attempts)

    def judge_fallback(self, attempt: int) -> None:
        texts = [number for _, number, _, form in self.lane.attempts if form == "session"]
        first = min(texts)
        assert self.lane.now < self.expires_at, "after its life"
        assert not self.cancelled, "after it was cancelled"
        before = {number: said for number, said in self.told.items() if number < first}
        assert not any("delivered" in said for said in before.values()), "although the first was delivered"
        if attempt != first:
            return  # tried again, or resent, under the rules of any content
        last = first - 1
        if last in self.mended:
            return
        assert self.duplicate_ok, "without a failure that another content mends, and without leave to send both"
        assert last in self.settled_at, "while the first content's fate is unknown"
        assert self.lane.now >= self.settled_at[last] + AFTER_SECONDS, "too soon"
        assert "failed" not in before.get(last, ()), "although it failed for what no content mends"

    @precondition(lambda self: self.lane.under_way)
    @rule(outcome=st.sampled_from(OUTCOMES))
    def call_ends(self, outcome: Outcome) -> None:
        _, attempt = self.lane.under_way[-1]
        message = self.lane.state.messages.get("message-1")
        awaited = message is not None and message.attempt == attempt
        if isinstance(outcome, Accepted):
            self.settled_at.setdefault(attempt, self.lane.now)
        elif awaited and outcome == refused(132000):
            self.mended.add(attempt)
        self.lane.answer(outcome, attempt=attempt)
        self.judge()

    @precondition(lambda self: self.called_at)
    @rule(
        newest=st.booleans(),
        status=st.sampled_from(["sent", "failed", "failed", "delivered"]),
        code=st.sampled_from(CODES),
    )
    def meta_says(self, newest: bool, status: str, code: int) -> None:
        attempt = max(self.called_at) if newest else min(self.called_at)
        said = self.told.setdefault(attempt, set())
        first_word = not said & {"failed", "delivered"}
        said.add(status)
        self.settled_at.setdefault(attempt, self.lane.now)
        if status == "failed" and first_word and policy_for(code).other_content == "yes":
            self.mended.add(attempt)
        failed = code if status == "failed" else None
        reached = status == "delivered"
        self.lane.write(
            lambda scribe: take_echo(
                scribe,
                self.lane.around,
                "message-1",
                attempt,
                f"wamid.{attempt}",
                ONE,
                self.lane.now,
                failed,
                reached=reached,
            )
        )
        self.last_gate_is_closed_once_delivered()
        self.lane.round()
        self.judge()

    def last_gate_is_closed_once_delivered(self) -> None:
        message = self.lane.state.messages.get("message-1")
        if message is not None and message.status == "attempting":
            delivered = [n for n, said in self.told.items() if "delivered" in said and n < message.attempt]
            refused_by = last_gate(self.lane.state, self.lane.around, message, self.lane.now)
            assert not delivered or refused_by is not None or message.form == "template"

    @rule(what=st.sampled_from(["news of another", "owner dies", "cancelled", *TIMES, *TIMES]))
    def the_world_goes_on(self, what: str | float) -> None:
        if what == "news of another":
            self.lane.echo("another-1", 1)
        elif what == "owner dies":
            self.lane.crash()
            self.lane.round()
        elif what == "cancelled":
            self.cancelled = True
            self.lane.command("cancel_message", "message-1")
        else:
            self.lane.round(float(what))
        self.judge()

    def teardown(self) -> None:
        self.lane.round(7 * 86_400.0)
        for _ in range(3):
            self.lane.round(1)
        assert len(self.lane.state.watches) == 0, "nothing is watched beyond the message's life"
        self.judge()


FallbackMachine.TestCase.settings = settings(max_examples=250, stateful_step_count=15, deadline=None)
TestFallbackMachine = FallbackMachine.TestCase
