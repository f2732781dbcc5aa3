"""The judge finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign, Result
from tests.chaos.kills import Death
from tests.chaos.verdict import Verdict, judged

STATES = {
    "message-1": {"status": "submitted", "wamid": "wamid.1", "first_seen": {"queued": 0, "submitted": 2}},
    "message-2": {"status": "unknown", "first_seen": {"queued": 0, "in_doubt": 1, "unknown": 2}},
    "message-3": {"status": "sent", "wamid": "wamid.3", "first_seen": {"in_doubt": 1, "sent": 2}},
}
LEDGER = [{"opaque": "message-1.1", "wamid": "wamid.1"}, {"opaque": "message-3.1", "wamid": "wamid.3"}]


def test_accepted_once_or_in_doubt_by_name_holds() -> None:
    verdict = judged(STATES, STATES, LEDGER)
    assert verdict == Verdict(messages=3, doubted=2, accepted=1, unknown=1)
    assert verdict.holds


def test_a_second_acceptance_is_a_duplicate_whatever_the_state_says() -> None:
    assert judged(STATES, STATES, [*LEDGER, {"opaque": "message-2.1", "wamid": "wamid.9"}]).duplicates == []
    verdict = judged(STATES, STATES, [*LEDGER, {"opaque": "message-1.2", "wamid": "wamid.9"}])
    assert verdict.duplicates == ["message-1"] and not verdict.holds


def test_a_claim_needs_the_wamid_that_the_ledger_has_for_this_message() -> None:
    swapped = [{"opaque": "message-3.1", "wamid": "wamid.1"}, {"opaque": "message-1.1", "wamid": "wamid.3"}]
    assert judged(STATES, STATES, swapped).false_claims == ["message-1", "message-3"]
    assert judged(STATES, STATES, LEDGER[:1]).false_claims == ["message-3"]


def test_what_is_neither_claimed_nor_in_doubt_is_lost() -> None:
    waiting = STATES | {"message-1": {"status": "queued", "first_seen": {"queued": 0}}}
    verdict = judged([*STATES, "message-4"], waiting, LEDGER)
    assert verdict.lost == ["message-1 (queued)", "message-4 (no event)"] and not verdict.holds


def test_what_was_cancelled_must_not_have_been_sent() -> None:
    ended = STATES | {"message-1": {"status": "cancelled", "first_seen": {"queued": 0, "cancelled": 1}}}
    assert judged(STATES, ended, LEDGER[1:]).lost == ["message-1 (cancelled)"]
    assert judged(STATES, ended, LEDGER[1:], {"message-1"}).holds
    assert judged(STATES, ended, LEDGER, {"message-1"}).false_claims == ["message-1"]


AT_A_CALL, AROUND_ONE = Death("sendmsg:4", "broker"), Death("recvmsg:overall-90", "around")
AT_A_MOMENT, MISSED = Death("moment:900", "anywhere"), Death("recvmsg:700", "late")


def test_a_campaign_needs_two_hundred_kills_and_fifty_of_them_at_the_brokers_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came near a call is no death at it, and a process that missed its point was not killed there."""
    monkeypatch.chdir(tmp_path)
    campaign = Campaign(7)
    campaign.keep("kills-00", Result("fine", True, Verdict(messages=3), [AT_A_CALL] * 49 + [AROUND_ONE] * 50))
    campaign.keep("kills-01", Result("fine", True, Verdict(messages=3), [AT_A_MOMENT] * 100 + [MISSED] * 50))
    again = Campaign.of(7)
    assert (again.kills, again.broker_deaths) == (199, 49)
    assert not again.holds(["kills"]) and again.holds(["stops"])
    told = again.summary(["kills"])
    assert told[0] == "seed 7: 199 kills" and "6 messages" in told[-3]
    assert told[-2:] == ["TOO FEW: 49 deaths at broker sockets, 50 are needed", "TOO FEW: 199 kills, 200 are needed"]
    again.keep("kills-02", Result("fine", True, Verdict(), [AT_A_MOMENT]))
    assert not again.holds(["kills"]), "200 kills, 49 at the broker's calls"
    again.results["kills-02"] = Result("fine", True, Verdict(), [AT_A_CALL])
    assert again.holds(["kills"]) and "6 messages" in again.summary(["kills"])[-1]


def test_a_part_that_failed_once_is_run_again_and_stays_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    campaign = Campaign(7)
    campaign.keep("stop-restart", Result("3 lost", False, Verdict(messages=3, lost=["message-1 (queued)"])))
    again = Campaign.of(7)
    assert "stop-restart" not in again.results and not again.holds(["stops"])
    again.keep("stop-restart", Result("none lost", True, Verdict(messages=3)))
    assert "stop-restart" in again.results and not Campaign.of(7).holds(["stops"])
    told = Campaign.of(7).summary(["stops"])
    assert told[-2].startswith("stop-restart DID NOT HOLD: 3 lost")
    assert told[-1] == "stop-restart held when it was run again: none lost"
