"""What arrives during a commit is decided upon for the next one; what a failed commit took is heard again."""

from __future__ import annotations

import asyncio
from typing import cast

import orjson
from confluent_kafka import Message as Record

from harkara.dispatcher.barred import Bar, Barred
from harkara.dispatcher.breath import Breath
from harkara.dispatcher.calls import Settled
from harkara.dispatcher.hearing import MOST_BESIDE_COMMIT, Batch, Hearing
from harkara.dispatcher.inbox import Inbox
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.senders import Senders
from harkara.runtime.clock import SystemClock
from tests.unit.dispatcher.calling import calling
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, TWO, HandDriven, order, refused
from tests.unit.dispatcher.test_intake import KAFKA, TYPE, Told


class Heard:
    """A lane by hand, and what is heard for it."""

    def __init__(self, *orders: str) -> None:
        self.lane = HandDriven()
        self.lane.take(*[order(message_id) for message_id in orders])
        self.calls = calling(cast(Senders, None))  # no call is started
        self.inbox, self.breath, self.barred = Inbox(KAFKA, 0, 1), Breath(SystemClock()), Barred()
        self.hearing = self.listening()

    def listening(self) -> Hearing:
        """To the lane as it stands now."""
        scribe = Scribe(self.lane.state, self.lane.now)
        return Hearing(self.calls, self.inbox, self.barred, self.lane.around, scribe)

    def answer(self, *message_ids: str) -> None:
        self.calls.settled.extend(Settled(message_id, 1, ACCEPTED) for message_id in message_ids)

    def arrive(self, *message_ids: str) -> None:
        self.inbox.put(cast(Record, Told([TYPE], orjson.dumps(order(message_id)))) for message_id in message_ids)

    def statuses(self) -> dict[str, str]:
        return {message_id: message.status for message_id, message in self.lane.state.messages.items()}

    def decided(self) -> list[tuple[str, str]]:
        return [(entry.kind, entry.key.partition("/")[0]) for entry in self.hearing.batch.scribe.entries]


def waiting(made: Heard) -> int:
    return len(made.calls.settled) + len(made.inbox)


async def test_what_comes_during_a_commit_is_the_next_ones() -> None:
    made = Heard("message-1")
    made.answer("message-1")
    await made.hearing.hear(made.breath)
    batch = made.hearing.turn(made.lane.now)
    assert [entry.kind for entry in batch.scribe.entries] == ["end"] and len(batch.answers) == 1
    commit = asyncio.get_running_loop().create_future()
    made.arrive("message-2")
    await made.hearing.hear(made.breath, commit)
    assert [entry.kind for entry in batch.scribe.entries] == ["end"], "what is being written changes no more"
    assert made.decided() == [("order", "message-2")] and made.hearing.batch.answers == []
    assert made.hearing.batch.scribe.entries[0].seq == batch.scribe.entries[-1].seq + 1


async def test_once_the_commit_has_ended_nothing_more_is_heard_until_its_calls_have_started() -> None:
    made, commit = Heard("message-1", "message-2"), asyncio.get_running_loop().create_future()
    made.answer("message-1", "message-2")
    made.arrive("message-3", "message-4")
    commit.set_result(None)
    await made.hearing.hear(made.breath, commit)
    before = waiting(made)
    assert before >= 3, "at most the one that was taken out"
    await made.hearing.hear(made.breath)
    assert waiting(made) == 0
    assert sorted(made.decided()) == [
        ("end", "message-1"),
        ("end", "message-2"),
        ("order", "message-3"),
        ("order", "message-4"),
    ], "and nothing of it is lost or heard twice"


async def test_answers_of_a_commit_that_failed_are_heard_by_the_state_that_is_read_back() -> None:
    made = Heard("message-1", "message-2", "message-3")
    made.answer("message-1", "message-2")
    await made.hearing.hear(made.breath)
    batch = made.hearing.turn(made.lane.now)
    made.answer("message-3")
    await made.hearing.hear(made.breath, asyncio.get_running_loop().create_future())
    made.answer("message-9")
    made.hearing.undo(batch)
    assert [each.message_id for each in made.calls.settled] == ["message-1", "message-2", "message-3", "message-9"]
    made.lane.crash()
    assert made.statuses() == dict.fromkeys(["message-1", "message-2", "message-3"], "in_doubt")
    made.hearing = made.listening()
    await made.hearing.hear(made.breath)
    assert made.statuses() == {}, "all of them ended"


async def test_answers_of_a_commit_that_was_written_though_it_seemed_to_fail_change_nothing() -> None:
    made = Heard("message-1")
    made.answer("message-1")
    await made.hearing.hear(made.breath)
    batch = made.hearing.turn(made.lane.now)
    made.lane.journal += batch.scribe.entries
    made.hearing.undo(batch)
    made.lane.crash()
    made.hearing = made.listening()
    await made.hearing.hear(made.breath)
    assert made.decided() == []


async def test_while_a_commit_is_slow_no_more_is_decided_than_a_commit_should_hold() -> None:
    made, commit = Heard(), asyncio.get_running_loop().create_future()
    for first in range(0, 3 * MOST_BESIDE_COMMIT, 100):
        made.arrive(*[f"message-{first + n}" for n in range(100)])
        await made.hearing.hear(made.breath, commit)
    assert len(made.decided()) == MOST_BESIDE_COMMIT
    assert waiting(made) == 2 * MOST_BESIDE_COMMIT, "the others wait for the next round"
    made.answer("message-0")
    await made.hearing.hear(made.breath, commit)
    assert waiting(made) == 2 * MOST_BESIDE_COMMIT + 1
    made.hearing.turn(made.lane.now)
    await made.hearing.hear(made.breath, commit)
    assert len(made.decided()) == MOST_BESIDE_COMMIT


async def test_a_refusal_that_stops_a_number_outlives_the_commit_that_failed() -> None:
    made = Heard()
    for number in (ONE, TWO):
        made.barred.add(number, Bar(refused(190, 401), own=False, since=None))
    await made.hearing.hear(made.breath)
    assert {key for kind, key in made.decided()} == {"hold"}
    assert ONE not in made.barred, "the hold stands at the gate instead"
    batch = made.hearing.turn(made.lane.now)
    made.hearing.undo(batch)
    assert ONE in made.barred and TWO in made.barred
    made.lane.crash()
    made.hearing = made.listening()
    await made.hearing.hear(made.breath)
    assert sorted(made.lane.state.holds) == [("number", ONE), ("number", TWO)]
    made.hearing.undo(Batch(made.hearing.batch.scribe, [], []))
    made.hearing = made.listening()
    await made.hearing.hear(made.breath)
    assert made.decided() == [], "of one that was written after all nothing is written again"
