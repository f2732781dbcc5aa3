"""Which outcomes a state tells of, each once; and the signature of a callback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harkara.contracts.lifecycle import MessageLifecycle, MessageState, State, advance
from harkara.outcome_notifier.core import (
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    Memory,
    body_of,
    delay_after,
    outcomes_of,
    secret_bytes,
    signed_headers,
)

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
WAMID = "wamid.HBgMOTE5OTk5OTAwMDA1FQIAERgSQTE="


def event(status: str, seconds: float = 0, attempt: int = 1, **more: Any) -> MessageLifecycle:
    fields = {"message_id": "m-00000001", "home": "pool-a", "status": status, "at": AT + timedelta(seconds=seconds)}
    if status in ("queued", "expired", "unknown", "cancelled"):
        fields["rank"] = 5
    return MessageLifecycle.model_validate(fields | {"attempt": attempt} | more)


def state_of(*events: MessageLifecycle) -> MessageState:
    state: State | None = None
    for each in events:
        state = advance(state, each)
    return MessageState.model_validate(state)


def kinds(state: MessageState) -> list[str]:
    return [each.outcome.kind for each in outcomes_of(state)]


RECEIVED = event("received", attempt=0, producer="campaigns", person_key="p" * 32, run_id="r-1")
SUBMITTED = event("submitted", 1, wamid=WAMID)


@pytest.mark.req("WHK-12")
@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ([RECEIVED, SUBMITTED], []),
        ([SUBMITTED, event("sent", 2)], ["MESSAGE_SENT"]),
        ([SUBMITTED, event("delivered", 2)], ["MESSAGE_SENT", "MESSAGE_DELIVERED"]),
        ([event("read", 3)], ["MESSAGE_SENT", "MESSAGE_DELIVERED", "MESSAGE_READ"]),
        ([event("played", 3)], ["MESSAGE_SENT", "MESSAGE_DELIVERED", "MESSAGE_READ"]),
        ([SUBMITTED, event("failed", 2)], ["MESSAGE_FAILED"]),
        ([event("sent", 2), event("failed", 3)], ["MESSAGE_SENT", "MESSAGE_FAILED"]),
        ([event("failed", 2), event("delivered", 3)], ["MESSAGE_SENT", "MESSAGE_DELIVERED"]),
        ([event("rejected", attempt=0)], ["MESSAGE_FAILED"]),
        ([event("expired")], ["MESSAGE_FAILED"]),
        ([event("queued")], []),
        ([SUBMITTED, event("silent", 900), event("presumed_dropped", 9000)], []),
    ],
)
def test_what_a_state_tells(seen: list[MessageLifecycle], told: list[str]) -> None:
    assert kinds(state_of(*seen)) == told
    assert kinds(state_of(*seen[::-1])) == told


def test_what_is_left_out_has_the_time_of_what_implies_it() -> None:
    told = {each.outcome.kind: each.outcome.at for each in outcomes_of(state_of(event("read", 9), event("sent", 2)))}
    assert told["MESSAGE_SENT"] == AT + timedelta(seconds=2)
    assert told["MESSAGE_DELIVERED"] == told["MESSAGE_READ"] == AT + timedelta(seconds=9)


def test_a_failure_says_why_and_whether_it_is_certain() -> None:
    reason = {"code": "meta_131026", "text": "Message undeliverable"}
    (told,) = outcomes_of(state_of(RECEIVED, event("failed", 2, wamid=WAMID, error_code=131026, reason=reason)))
    body = json.loads(body_of(told.outcome))
    assert body["type"] == "MESSAGE_FAILED"
    assert body["data"] == {
        "messageId": "m-00000001", "to": "p" * 32, "whatsappId": WAMID, "attempt": 1, "runId": "r-1",
        "error": {"code": "meta_131026", "message": "Message undeliverable", "metaCode": 131026, "certain": True},
    }  # fmt: skip
    (doubt,) = outcomes_of(state_of(event("unknown")))
    assert doubt.outcome.error is not None and not doubt.outcome.error.certain


def test_a_state_that_grows_tells_each_outcome_once_and_a_new_process_the_same_ids() -> None:
    events = [RECEIVED, SUBMITTED, event("sent", 2), event("sent", 2), event("delivered", 3), event("read", 4)]
    memory, told = Memory(), []
    for number in range(1, len(events) + 1):
        told += [each.id for each in memory.news(state_of(*events[:number]), AT)]
    assert len(told) == len(set(told)) == 3
    again = [each.id for each in Memory().news(state_of(*events), AT)]
    assert again == told


def test_a_second_attempts_failure_is_told_after_the_firsts() -> None:
    memory = Memory()
    first = memory.news(state_of(event("failed", 1)), AT)
    second = memory.news(state_of(event("failed", 1), event("failed", 5, attempt=2)), AT)
    assert [each.outcome.attempt for each in first + second] == [1, 2]
    assert first[0].id != second[0].id


def test_what_is_older_than_a_week_is_not_told_and_memory_is_bounded() -> None:
    state = state_of(event("read"))
    assert Memory().news(state, AT + timedelta(days=7, seconds=1)) == []
    memory = Memory(limit=2)
    for name in "abcd":
        memory.news(state.model_copy(update={"message_id": f"message-{name}"}), AT)
    assert len(memory._told) == 2


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    """From the specification's test vector (standard-webhooks, spec)."""
    secret = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', [secret], at)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.binary(max_size=200), st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3))
def test_every_secret_signs_and_each_alone_verifies(body: bytes, secrets: list[bytes]) -> None:
    headers = signed_headers("abc", body, secrets, AT)
    signatures = headers["webhook-signature"].split(" ")
    for secret, signature in zip(secrets, signatures, strict=True):
        content = b"abc." + headers["webhook-timestamp"].encode() + b"." + body
        wanted = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
        assert signature == f"v1,{wanted}"


@pytest.mark.parametrize(
    "text", ["abc", "whsec_", "whsec_%%%", "whsec_YWJj", "key_" + base64.b64encode(b"k" * 32).decode()]
)
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"whsec_|bytes|base64"):
        secret_bytes(text)


def test_delays_double_up_to_a_quarter_of_an_hour_and_obey_the_endpoint() -> None:
    delays = [delay_after(failures, "id", None) for failures in range(1, 40)]
    assert FIRST_DELAY_SECONDS <= delays[0] <= FIRST_DELAY_SECONDS * 1.1
    assert delays == sorted(delays) and delays[-1] <= LONGEST_DELAY_SECONDS * 1.1
    assert delay_after(1, "id", 120.0) >= 120.0
    assert delay_after(1, "id", 10_000.0) <= LONGEST_DELAY_SECONDS * 1.1
    assert len({delay_after(1, str(n), None) for n in range(20)}) > 10
