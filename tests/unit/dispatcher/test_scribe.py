"""What a Scribe writes of a message's next attempt, which is written out for speed: to the byte what a step says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from harkara.dispatcher.core import take_order
from harkara.dispatcher.journal import encoded
from harkara.dispatcher.message import NOTHING_YET, Candidate, Course, Message
from harkara.dispatcher.recent import Attempt
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import LaneState
from harkara.policy.contacts import NO_RULES, ContactRules
from tests.unit.dispatcher.lanes import HOME, ONE, START, TWO, order

CAPPED = ContactRules(looks_at=(("utility", frozenset({"utility"})),), marked=frozenset({"utility"}))
TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"
COURSES = st.builds(
    Course,
    spent=st.integers(0, 2),
    number=st.sampled_from([None, ONE]),
    form=st.sampled_from([None, "session", "template"]),
    called_at=st.sampled_from([0.0, START - 5]),
    reason=st.sampled_from([None, "lease"]),
    template_only=st.booleans(),
    resent=st.booleans(),
    template=st.sampled_from([None, "daily_update:hi"]),
    refused=st.integers(0, 1),
)
WAYS = st.sampled_from(
    [
        (Candidate(TWO, "session", START + 60), None),
        (Candidate(ONE, "template", None), "daily_update:en"),
        (Candidate(ONE, "template", None), "daily_update:hi"),
    ]
)


def written(write: Callable[[Scribe, Message], None], course: Course, attempt: int, **shape: Any) -> list[Any]:
    """The entry's key, bytes and headers, and what the state keeps of it."""
    state = LaneState()
    state.replaying = False
    state.recent.rules = CAPPED if shape["capped"] else NO_RULES
    more: dict[str, Any] = {"marks": {"template": "aa" * 8, "session": "bb" * 8}} if shape["marked"] else {}
    scribe = Scribe(state, START + 1)
    take_order(scribe, order(run_id=shape["run_id"], **more), shape["trace"])
    message = state.messages["message-1"]
    message.course, message.attempt = course, attempt
    if shape["known"]:
        state.recent.put(message.person_key, "utility", "message-1", [Attempt(1, START)], START, HOME)
    write(scribe, message)
    entry = scribe.entries[-1]
    return [entry.key, entry.seq, encoded(entry), message.course, message.attempt, message.status]


@example(
    course=NOTHING_YET,
    attempt=0,
    way=(Candidate(ONE, "template", None), "daily_update:en"),
    run_id=None,
    trace=None,
    capped=False,
    known=False,
    marked=False,
)
@given(
    course=COURSES,
    attempt=st.integers(0, 3),
    way=WAYS,
    run_id=st.sampled_from([None, "run-1"]),
    trace=st.sampled_from([None, TRACE]),
    capped=st.booleans(),
    known=st.booleans(),
    marked=st.booleans(),
)
def test_an_attempt_is_written_as_the_step_that_it_is(
    course: Course, attempt: int, way: tuple[Candidate, str | None], **shape: Any
) -> None:
    """Old journals and new ones cannot be told apart: the same keys in the same order, and nothing that is empty."""
    (candidate, template), called_at = way, START + 1.25

    def step(scribe: Scribe, message: Message) -> None:
        scribe.step(
            message,
            "attempting",
            attempt=message.attempt + 1,
            number=candidate.number,
            form=candidate.form,
            called_at=called_at,
            template=template,
            swapped=template if template != message.template_key else None,
        )

    def written_out(scribe: Scribe, message: Message) -> None:
        scribe.attempt(message, candidate, called_at, template)

    assert written(written_out, course, attempt, **shape) == written(step, course, attempt, **shape)
