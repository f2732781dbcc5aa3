"""What Meta's statuses say of our attempts: whoever sees a status of an attempt knows that Meta has the message.

Every send carries `<message id>.<attempt>`, and every status brings it back. So a status settles what the answer left
open, shows a second sending of the same message, and brings Meta's late refusals: of a text outside the service window,
and those that stop a number, an account or a template (`failed_later.py`).
"""

from __future__ import annotations

from harkara.dispatcher import journal
from harkara.dispatcher.assessment import end_released
from harkara.dispatcher.failed_later import FailedLater, hold_failed
from harkara.dispatcher.fallback import end_submitted, follow, reached_nobody
from harkara.dispatcher.plan import Surroundings
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import Message, Seen
from harkara.dispatcher.throttle import slow_down_told

WINDOW_CLOSED = 131047
"""Meta mostly takes a text outside the service window and refuses it a moment later by a status (cloud-api 9)."""
FALLBACK_KEPT_SECONDS = 600.0
"""How long a text is followed for that refusal: it comes within seconds, or when webhooks that were late are read."""


def take_echo(
    scribe: Scribe,
    around: Surroundings,
    message_id: str,
    attempt: int,
    wamid: str | None,
    number: str | None,
    at: float,
    failed_code: int | None = None,
    *,
    reached: bool = False,
    person_key: str | None = None,
) -> None:
    """A status of Meta names one of our attempts. `failed_code`: it says `failed`, with that code (0: without one);
    `reached`: it says that the person has it; `person_key`: who they are, where it says so.

    While a newer attempt's call is under way, what is known of the older one is kept until that call has ended.
    """
    _note_channel(scribe, number, at, failed_code)
    end_released(scribe, around, message_id, attempt, failed_code)
    if failed_code and number is not None:
        failed = FailedLater(message_id, attempt, number, failed_code, at, person_key)
        hold_failed(scribe, around, failed)
    seen = Seen(attempt, wamid, number)
    message = scribe.state.messages.get(message_id)
    if message is None:
        _after_the_end(scribe, message_id, seen, failed_code, reached=reached)
    elif not 1 <= attempt <= message.attempt:
        return
    elif not reached and attempt in message.undelivered:
        return  # what goes now goes because of that; a status that comes again, or late, must not end it
    elif failed_code is not None and attempt < message.attempt and _goes_on(message):
        _unsee(scribe, message, attempt)  # the older one reached nobody; the newer one's fate is still open
    elif message.status == "attempting" and attempt < message.attempt:
        _see(scribe, message, Seen(attempt, wamid, number, reached))
    elif failed_code is not None and message.seen is not None:
        settle_by_evidence(scribe, message, message.seen)  # the newer one reached nobody; the older is with Meta
    elif failed_code == WINDOW_CLOSED and message.can_reroute:
        if not message.template_only:
            facts = {"template_only": True, "refused": attempt, "code": failed_code}
            scribe.step(message, "queued", reason=f"meta_{failed_code}", **facts)
    else:
        settle_by_evidence(scribe, message, seen, reached=reached)
        follow(scribe, message_id, seen, failed_code, reached=reached)


def _goes_on(message: Message) -> bool:
    """Whether the newest attempt is under way or in doubt, or another one goes in its place."""
    return not message.waiting or message.attempt in message.undelivered


def _see(scribe: Scribe, message: Message, seen: Seen) -> None:
    """Meta has an older attempt while a newer one's call is under way: kept until that call has ended. The first one
    counts, but for a delivery, which counts more."""
    if message.seen is None or (seen.reached and not message.seen.reached):
        data = {name: value for name, value in seen._asdict().items() if value}
        scribe.write(journal.seen_key(message.message_id), "seen", message.home, data)


def _unsee(scribe: Scribe, message: Message, attempt: int) -> None:
    """What Meta had of this attempt it did not deliver: the newer one is all that is left of the message."""
    if message.seen is not None and message.seen.attempt == attempt and not message.seen.reached:
        scribe.erase(journal.seen_key(message.message_id))


def _note_channel(scribe: Scribe, number: str | None, at: float, failed_code: int | None) -> None:
    """What a status says of its number, whatever its message: webhooks arrive, and perhaps that it is too fast."""
    if number is None:
        return
    scribe.state.heard_of(number, at, scribe.now)
    if failed_code:
        slow_down_told(scribe, number, failed_code, at)


def settle_by_evidence(
    scribe: Scribe, message: Message, seen: Seen, newer_was: str = "unknown", *, reached: bool = False
) -> None:
    """Meta has attempt `seen`: the message is submitted by it. A newer attempt is withdrawn: it will not be made, or
    ended as `newer_was`, or nobody waits for its fate any more."""
    other = message.seen if message.seen is not None and message.seen.attempt != seen.attempt else None
    withdrawn, sent_again = None, message.resent or other is not None
    if message.waiting:
        withdrawn = [message.attempt + 1, "cancelled"]
    elif seen.attempt < message.attempt:
        withdrawn, sent_again = [message.attempt, newer_was], True
    end_submitted(
        scribe,
        message,
        seen.attempt,
        reached=reached,
        wamid=seen.wamid,
        number=seen.number or message.number,
        reason="seen_in_status",
        withdrawn=withdrawn,
        resent=sent_again or None,
    )
    if other is not None:
        note_duplicate(scribe, message.message_id, other)


def note_duplicate(scribe: Scribe, message_id: str, seen: Seen) -> None:
    """Meta has a second attempt of this message: a person may have got it twice. Written once for each such attempt."""
    taken = scribe.state.taken.get(message_id)
    if taken is None or seen.attempt in taken.attempts:
        return
    data = {"attempt": seen.attempt, "wamid": seen.wamid, "number": seen.number}
    kept = {name: value for name, value in data.items() if value is not None}
    if not taken.attempts:  # it had ended as unknown: this is the first that is known
        scribe.write(journal.seen_key(message_id), "seen", taken.home, kept)
    else:
        key = journal.duplicate_key(message_id, seen.attempt)
        scribe.write(key, "duplicate", taken.home, kept | {"reason": "duplicate"})


def _after_the_end(scribe: Scribe, message_id: str, seen: Seen, failed_code: int | None, *, reached: bool) -> None:
    """Only three things may still follow: a status of another attempt of a message that was sent again, the refusal of
    a text whose order has a template to go on with, and news of a message whose fallback may go."""
    if failed_code is None and not reached_nobody(scribe.state, message_id, seen, reached=reached):
        note_duplicate(scribe, message_id, seen)  # one that failed did not reach the person
    _go_on_as_template(scribe, message_id, seen, failed_code)
    follow(scribe, message_id, seen, failed_code, reached=reached)


def _go_on_as_template(scribe: Scribe, message_id: str, seen: Seen, failed_code: int | None) -> None:
    fallback = scribe.state.fallbacks.get(message_id)
    if fallback is None or fallback.attempt != seen.attempt:
        return
    del scribe.state.fallbacks[message_id]  # whatever the status says, the first one decides; it is not asked again
    if failed_code == WINDOW_CLOSED:
        again: dict[str, object] = {"attempt": fallback.attempt, "spent": fallback.spent, "template_only": True}
        again["resent"] = fallback.resent
        again["refused"] = fallback.attempt
        if fallback.resent and fallback.number is not None:
            again["number"] = fallback.number
        reason = f"meta_{failed_code}"
        data = {"order": fallback.order, "status": "queued", "again": again, "reason": reason, "trace": fallback.trace}
        scribe.write(message_id, "order", fallback.order["home"], data)
