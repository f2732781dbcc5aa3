"""Messages with a fallback content, for the tests of a lane driven by hand."""

from __future__ import annotations

from typing import Any, TypeVar

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.dispatcher.evidence import take_echo
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, HandDriven, iso, order

MEDIA_ERROR = 131053
PERSON = "person of message-1"
AFTER = 600
TEXT = {"type": "text", "body": "Your document is at our desk."}
OTHER = {"type": "template", "name": "plain_update", "language": "en", "body": ["Asha"]}


Driven = TypeVar("Driven", bound=HandDriven)


def plan(form: str = "template", number: str = ONE, until: float | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"phone_number_id": number, "form": form}
    candidate |= {"valid_until": None if until is None else iso(until)}
    return {"plan": [candidate], ("session" if form == "session" else "template"): TEXT if form == "session" else OTHER}


def falling_back(
    message_id: str = "message-1", *, fallback: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """An order with a fallback; `after` makes it go without news too."""
    after = more.pop("after", None)
    fallback = (fallback or plan()) | ({} if after is None else {"after_seconds": after})
    return order(
        message_id, fallback=fallback, duplicate_ok=after is not None or more.pop("duplicate_ok", False), **more
    )


def says(
    lane: HandDriven, status: str, code: int | None = None, attempt: int = 1, message_id: str = "message-1"
) -> None:
    """A status of Meta."""
    failed = (code or 0) if status == "failed" else None
    reached = status in ("delivered", "read")
    wamid = f"wamid.{attempt}"
    lane.write(
        lambda scribe: take_echo(scribe, message_id, attempt, wamid, ONE, lane.now, failed, reached=reached)
    )  # fmt: skip
    lane.round()


def sent(lane: Driven, made: dict[str, Any] | None = None) -> Driven:
    """The first content is with Meta."""
    lane.take(made or falling_back())
    lane.answer(ACCEPTED)
    lane.round(6)  # beyond the pace to one person
    return lane


def calls(lane: HandDriven) -> list[tuple[int, str]]:
    return [(attempt, form) for _, attempt, _, form in lane.attempts]


def last_reason(lane: HandDriven) -> MessageLifecycle:
    events = [each.event for each in lane.emissions() if isinstance(each.event, MessageLifecycle)]
    return next(each for each in reversed(events) if each.reason is not None)


def second(lane: HandDriven) -> tuple[str, str]:
    """Status and reason of attempt 2."""
    state = lane.shown()["message-1"]["attempts"]["2"]
    return state["status"], state["reason"]["code"]


def attempts(entry: Any) -> bool:
    return entry.kind == "step" and entry.data is not None and entry.data["status"] == "attempting"


def duplicates(lane: HandDriven) -> list[int]:
    events = [each.event for each in lane.emissions() if isinstance(each.event, MessageLifecycle)]
    return [event.attempt for event in events if event.reason is not None and event.reason.code == "duplicate"]
