"""Whether webhooks reach us, by account: found at once, however many numbers and accounts there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from harkara.dispatcher.channels import Channel
from harkara.dispatcher.doubt import CHANNEL_FRESH_SECONDS
from harkara.dispatcher.evidence import take_echo
from harkara.dispatcher.fallback import QUIET_LOOK_SECONDS
from harkara.dispatcher.kinship import CANCEL, cancel_elsewhere, uncancelled
from harkara.dispatcher.plan import NumberFacts
from tests.unit.dispatcher.fallbacks import AFTER, falling_back, sent
from tests.unit.dispatcher.lanes import ONE, START, THREE, TIMEOUT, TWO, HandDriven, order
from tests.unit.dispatcher.test_names import NOT_MINE, Known, P, Q, U, V, alias

OTP = "authentication"


class Unwalked(dict[str, NumberFacts]):
    """A fleet of which single numbers may be asked for, and never all of them."""

    def _refuse(self, *_: Any) -> NoReturn:
        raise AssertionError("of a thousand numbers each would be looked at, for each message")

    values = items = keys = __iter__ = _refuse


def told(lane: HandDriven, number: str, at: float) -> None:
    """A status of another message of that number."""
    lane.write(lambda scribe: take_echo(scribe, lane.around, "another", 1, "wamid.X", number, at))


def accounts(lane: HandDriven) -> None:
    """ONE and TWO are of one account, THREE of another."""
    lane.fleet[THREE] = replace(lane.fleet[THREE], waba_id="waba-2")
    lane.crash()


def unwalked(lane: HandDriven) -> None:
    lane.around.fleet = Unwalked(lane.fleet)


def test_the_newest_status_counts_and_when_it_was_read() -> None:
    channel = Channel()
    for at, now in ((5.0, 6.0), (3.0, 7.0), (5.0, 8.0), (4.0, 9.0)):
        channel.note(at, now)
    assert channel == Channel(5.0, 8.0)


def test_a_clock_that_is_ahead_is_believed_to_be_right() -> None:
    channel = Channel()
    channel.note(9_000.0, 10.0)
    assert channel == Channel(10.0, 10.0)
    channel.note(11.0, 12.0)
    assert channel == Channel(11.0, 12.0)


@pytest.mark.parametrize(("number", "again"), [(ONE, True), (TWO, True), (THREE, False)])
@pytest.mark.req("DSP-14", "B1")
def test_a_message_is_sent_again_where_statuses_of_its_account_come(number: str, again: bool) -> None:
    lane = HandDriven()
    accounts(lane)
    lane.take(order(category=OTP))
    lane.answer(TIMEOUT)
    lane.now += 5
    told(lane, number, lane.now)
    lane.round(16)
    assert len(lane.attempts) == 1 + again


@pytest.mark.parametrize(
    ("status_at", "read_before", "again"),
    [(5.0, CHANNEL_FRESH_SECONDS - 1, True), (5.0, CHANNEL_FRESH_SECONDS + 1, False), (-1.0, 1.0, False)],
)
def test_of_an_old_status_or_one_that_was_read_long_ago_nothing_follows(
    status_at: float, read_before: float, again: bool
) -> None:
    lane = HandDriven()
    lane.take(order(category=OTP))
    lane.answer(TIMEOUT)
    until = lane.state.messages["message-1"].called_at + 90
    lane.state.put_off(lane.state.messages["message-1"], until)
    lane.now = until - read_before
    told(lane, ONE, START + status_at)
    lane.now = until
    lane.round(0.1)
    assert len(lane.attempts) == 1 + again


def test_a_doubt_that_is_over_looks_at_no_other_number() -> None:
    lane = HandDriven()
    lane.take(order(category=OTP))
    lane.answer(TIMEOUT)
    lane.now += 5
    told(lane, TWO, lane.now)
    unwalked(lane)
    lane.round(16)
    assert len(lane.attempts) == 2


@pytest.mark.parametrize(("number", "goes"), [(ONE, True), (TWO, True), (THREE, False)])
@pytest.mark.req("RTW-7")
def test_a_fallback_that_is_due_asks_its_account_and_looks_at_no_other_number(number: str, goes: bool) -> None:
    lane = HandDriven()
    accounts(lane)
    sent(lane, falling_back(after=AFTER))
    told(lane, number, lane.now)
    unwalked(lane)
    lane.round(AFTER)
    assert len(lane.attempts) == 1 + goes
    told(lane, ONE, lane.now)
    lane.round(QUIET_LOOK_SECONDS)
    assert len(lane.attempts) == 2


class TestCancelsAtATake:
    """What was cancelled for a person while nobody owned the lane that learnt their other names."""

    @staticmethod
    def lane() -> Known:
        made = Known()
        for person in (P, Q, NOT_MINE):
            made.command(CANCEL, person)
        return made

    @pytest.mark.req("B17")
    def test_only_whose_names_lack_it_are_written(self) -> None:
        lane = self.lane()
        lane.replica.links.apply(alias())
        lane.replica.links.apply(alias(Q, V))
        found = {person: uncancelled(lane.state, lane.around, person) for person in lane.state.cancelled_recipients()}
        assert found == {P: [U], Q: [V], NOT_MINE: []}
        for person in (P, P):
            lane.write(lambda scribe, person=person: cancel_elsewhere(scribe, lane.around, person))  # type: ignore[misc]
        assert uncancelled(lane.state, lane.around, P) == uncancelled(lane.state, lane.around, U) == []
        assert [entry.key for entry in lane.journal[3:]] == [f"cancel/{CANCEL}/{U}"]
        lane.crash()
        assert uncancelled(lane.state, lane.around, P) == []

    def test_what_is_known_is_not_asked_for_again(self) -> None:
        """Of names that are cancelled already nothing more is looked up."""
        lane = self.lane()
        lane.hear(alias())

        class Kin:
            @staticmethod
            def kin(target: str) -> Iterator[str] | list[str]:
                return [target, U if target == P else P]

            @staticmethod
            def names(_: str) -> NoReturn:
                raise AssertionError("it is cancelled under every name")

        lane.around.links = Kin()  # type: ignore[assignment]
        assert [uncancelled(lane.state, lane.around, name) for name in (P, U)] == [[], []]
