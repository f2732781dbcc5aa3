"""message-state's core: where an event belongs, in whatever order events come."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from harkara.contracts.lifecycle import MessageLifecycle, State
from harkara.contracts.wamids import (
    EVENTS_PER_WAMID,
    Change,
    Changed,
    Dropped,
    Named,
    Waiting,
    Waits,
    decide,
    has_expired,
    names,
)
from harkara.message_state.core import is_past

AT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
WAMID = "wamid.HBgMOTE5OTk5OTAwMDA1FQIAERgSQTE="


@dataclass
class Partition:
    """The tables of one partition, as the app keeps them."""

    states: dict[str, State] = field(default_factory=dict)
    index: dict[str, Named] = field(default_factory=dict)
    rows: dict[str, Waiting] = field(default_factory=dict)

    def state(self, message_id: str) -> State | None:
        return self.states.get(message_id)

    def named(self, wamid: str) -> Named | None:
        return self.index.get(wamid)

    def waiting(self, wamid: str) -> Waiting | None:
        return self.rows.get(wamid)

    def waiting_count(self) -> int:
        return len(self.rows)

    def fold(self, event: MessageLifecycle) -> list[Change]:
        changes = decide(self, event, AT)
        for change in changes:
            if isinstance(change, Changed):
                self.states[change.message_id] = change.state
                self.index.update(names(change.state))
            elif isinstance(change, Waits):
                self.rows[change.wamid] = change.row
        return changes


def event(status: str, seconds: float = 0, *, message_id: str | None = "m-00000001", **more: Any) -> MessageLifecycle:
    at = AT + timedelta(seconds=seconds)
    fields = {"message_id": message_id, "home": "pool-a", "status": status, "at": at} | more
    return MessageLifecycle.model_validate(fields)


ANONYMOUS = [
    event("sent", 2, message_id=None, attempt=1, wamid=WAMID),
    event("delivered", 3, message_id=None, attempt=1, wamid=WAMID),
]
OWN = [event("attempting", 0, attempt=2, rank=7), event("submitted", 1, attempt=2, wamid=WAMID)]


@pytest.mark.req("WHK-6")
@pytest.mark.req("WHK-8")
def test_statuses_without_callback_data_join_by_their_wamid_whatever_comes_first() -> None:
    seen = set()
    for order in permutations([*ANONYMOUS, *OWN]):
        partition = Partition()
        for each in order:
            partition.fold(each)
        state = dict(partition.states["m-00000001"])
        state.pop("version")
        seen.add(repr(state))
        assert (state["status"], state["attempt"]) == ("delivered", 2)
        assert set(state["first_seen"]) == {"attempting", "submitted", "sent", "delivered"}
    assert len(seen) == 1


def test_a_status_that_nobody_names_waits_once() -> None:
    partition = Partition()
    assert len(partition.fold(ANONYMOUS[0])) == 1
    assert partition.fold(ANONYMOUS[0]) == []
    assert len(partition.rows[WAMID]["events"]) == 1
    assert partition.states == {}


def test_what_has_joined_is_not_joined_again() -> None:
    partition = Partition()
    for each in [*ANONYMOUS, *OWN]:
        partition.fold(each)
    assert partition.fold(OWN[1]) == []


def test_an_event_without_any_id_belongs_nowhere() -> None:
    assert Partition().fold(event("sent", message_id=None, attempt=1)) == [Dropped("unnamed")]


def test_the_waiting_rows_are_bounded() -> None:
    partition = Partition(rows={str(n): {"since": AT.isoformat(), "events": []} for n in range(100_000)})
    assert partition.fold(ANONYMOUS[0]) == [Dropped("full")]
    for n in range(40):
        partition.rows["0"]["events"] = []
        partition.fold(event("sent", n, message_id=None, attempt=1, wamid="w"))
    assert "w" not in partition.rows
    small = Partition()
    for n in range(40):
        small.fold(event("sent", n, message_id=None, attempt=1, wamid="w"))
    assert len(small.rows["w"]["events"]) == EVENTS_PER_WAMID


def test_a_wait_ends_after_seven_days() -> None:
    row = {"since": AT.isoformat(), "events": []}
    assert not has_expired(row, AT + timedelta(days=7))
    assert has_expired(row, AT + timedelta(days=7, seconds=1))


def test_a_state_is_past_when_its_newest_event_is() -> None:
    partition = Partition()
    partition.fold(event("received", 0))
    partition.fold(event("sent", 86_400, attempt=1, wamid=WAMID))
    state = partition.states["m-00000001"]
    assert not is_past(state, AT + timedelta(days=1))
    assert is_past(state, AT + timedelta(days=1, seconds=1))
