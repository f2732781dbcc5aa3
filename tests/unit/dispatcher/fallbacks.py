"""Messages with a fallback content, for the tests of a lane driven by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from harkara.contracts.lifecycle import MessageLifecycle
from harkara.dispatcher.evidence import take_echo
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, TIMEOUT, HandDriven, iso, order

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


def in_two_forms(make: Callable[..., dict[str, Any]] = order, **more: Any) -> dict[str, Any]:
    """A text, and the template that goes where the window is closed; `make`: with or without a fallback."""
    made = make(form="session", **more)
    return made | {"plan": [*made["plan"], {"phone_number_id": ONE, "form": "template"}]}


class Followed(HandDriven):
    """A lane of whose messages Meta tells."""

    def says(self, status: str, code: int | None = None, attempt: int = 1, message_id: str = "message-1") -> None:
        """A status of Meta, of that attempt."""
        failed = (code or 0) if status == "failed" else None
        reached = status in ("delivered", "read")
        wamid = f"wamid.{attempt}"
        echo = (message_id, attempt, wamid, ONE, self.now, failed)
        self.write(lambda scribe: take_echo(scribe, self.around, *echo, reached=reached))
        self.round()

    def goes_again(self, made: dict[str, Any]) -> None:
        """Attempt 1 is in doubt and nothing is heard of it, so attempt 2 is called."""
        self.take(made)
        self.answer(TIMEOUT)
        self.now += 5
        self.echo("another-1", 1)
        self.round(16)

    def calls(self) -> list[tuple[int, str]]:
        """Attempt and form of each call."""
        return [(attempt, form) for _, attempt, _, form in self.attempts]

    def last_reason(self) -> MessageLifecycle:
        """The newest event that says why."""
        return next(each for each in reversed(self._events()) if each.reason is not None)

    def second(self) -> tuple[str, str]:
        """Status and reason of attempt 2."""
        state = self.shown()["message-1"]["attempts"]["2"]
        return state["status"], state["reason"]["code"]

    def duplicates(self) -> list[int]:
        """The attempts that are told as a second sending."""
        return [event.attempt for event in self._events() if event.reason and event.reason.code == "duplicate"]

    def _events(self) -> list[MessageLifecycle]:
        return [each.event for each in self.emissions() if isinstance(each.event, MessageLifecycle)]


def sent(lane: Driven, made: dict[str, Any] | None = None) -> Driven:
    """The first content is with Meta."""
    lane.take(made or falling_back())
    lane.answer(ACCEPTED)
    lane.round(6)  # beyond the pace to one person
    return lane


def attempts(entry: Any) -> bool:
    return entry.kind == "step" and entry.data is not None and entry.data["status"] == "attempting"
