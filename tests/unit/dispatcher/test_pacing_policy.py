"""governance.yaml and a number's age change while the dispatcher runs: applied as a whole or refused as a whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harkara.dispatcher.limits import bring_up_to_date, needs_restart, repace
from harkara.dispatcher.plan import NumberFacts
from harkara.dispatcher.senders import Senders
from harkara.dispatcher.settings import Settings
from harkara.dispatcher.tokens import Tokens
from harkara.policy.governance import Governance, load
from harkara.policy.pacing import limits_of
from harkara.runtime.policy_watch import PolicyFile, PolicyRefused
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, TWO, HandDriven, order

POLICY = """\
numbers:
  - phone_number_id: "100000000000011"
    display_phone_number: "+919999900011"
    waba_id: "200000000000001"
    portfolio_id: "300000000000001"
    profile: trust-level
    since: 2026-11-01
    token_env: TOKEN_1
  - phone_number_id: "100000000000012"
    display_phone_number: "+919999900012"
    waba_id: "200000000000001"
    portfolio_id: "300000000000001"
    profile: mine
    token_env: TOKEN_2
pools:
  - {name: pool-a, numbers: ["100000000000011", "100000000000012"]}
profiles:
  mine: {per_second: 10, per_minute: 60}
compliance: {consent_mode: opt_out}
"""
FIRST_DAY = datetime(2026, 11, 1, 6, 0, tzinfo=UTC)


class Written:
    """A policy file that is written anew, as an editor does it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "governance.yaml"
        self.write(POLICY)
        self.file: PolicyFile[Governance] = PolicyFile(self.path, load(self.path), load, needs_restart)

    def write(self, text: str) -> None:
        """Put the new text in the old one's place."""
        aside = self.path.with_suffix(".new")
        aside.write_text(text, "utf-8")
        aside.replace(self.path)

    def change(self, old: str, new: str) -> None:
        """Change one place of the file."""
        assert old in POLICY
        self.write(POLICY.replace(old, new))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def test_a_file_that_says_the_same_is_no_news(written: Written) -> None:
    assert written.file.look() is None
    written.write("# a comment\n" + POLICY)
    assert written.file.look() is None
    assert written.file.look() is None


@pytest.mark.req("DSP-18")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("per_minute: 60", "per_minute: 61"),
        ("profile: mine", "profile: cloud-api"),
        ("2026-11-01", "2026-10-01"),
        ("compliance:", "dispatch: {max_attempts: 2}\ncompliance:"),
    ],
)
def test_what_can_change_while_running_is_applied(written: Written, old: str, new: str) -> None:
    before = written.file.applied.version
    written.change(old, new)
    newest = written.file.look()
    assert newest is not None and newest is written.file.applied
    assert newest.version != before
    assert written.file.look() is None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("100000000000012", "100000000000013", "number 100000000000013 is new"),
        ("100000000000012", "100000000000013", "number 100000000000012 is gone"),
        ("TOKEN_2", "TOKEN_3", "number 100000000000012 has another token_env"),
        ('"200000000000001"', '"200000000000002"', "number 100000000000011 has another waba_id"),
        ('["100000000000011", "100000000000012"]', '["100000000000011"]', "pools are others"),
        ("compliance:", "dispatch: {request_timeout_seconds: 5}\ncompliance:", "dispatch.request_timeout_seconds is"),
        ("per_second: 10", "per_second: fast", "governance.yaml:"),
        ("    since: 2026-11-01\n", "", "paces by the number's age"),
        ("compliance:", "{", "governance.yaml:"),
    ],
)
def test_what_cannot_is_refused_whole_and_said_once(written: Written, old: str, new: str, reason: str) -> None:
    before = written.file.applied
    written.change(old, new)
    with pytest.raises(PolicyRefused, match=reason):
        written.file.look()
    assert written.file.look() is None
    assert written.file.applied is before
    written.change("per_minute: 60", "per_minute: 61")
    assert written.file.look() is not None


def test_a_mixture_is_refused_whole(written: Written) -> None:
    written.write(POLICY.replace("per_minute: 60", "per_minute: 61").replace("TOKEN_2", "TOKEN_3"))
    with pytest.raises(PolicyRefused, match="needs a restart"):
        written.file.look()
    assert written.file.applied.profiles["mine"].per_minute == 60


def test_a_file_that_is_gone_is_refused_and_taken_when_it_is_back(written: Written) -> None:
    written.file.look()
    written.path.unlink()
    with pytest.raises(PolicyRefused, match="cannot be read"):
        written.file.look()
    written.change("per_minute: 60", "per_minute: 61")
    assert written.file.look() is not None


def fleet(written: Written) -> dict[str, NumberFacts]:
    """The numbers of the file, before anybody looked at their limits."""
    lane = HandDriven()
    return {number: lane.fleet[number] for number in (ONE, TWO)}


@pytest.mark.req("DSP-8")
def test_a_numbers_age_steps_up_by_the_clock(written: Written) -> None:
    facts, governance = fleet(written), written.file.applied
    steps = []
    for hours in range(0, 16 * 24, 3):
        changed = bring_up_to_date(facts, governance, FIRST_DAY + timedelta(hours=hours))
        if ONE in changed:
            steps.append((hours, facts[ONE].limits.per_day, facts[ONE].limits.per_minute))
    assert steps == [(0, 20, 5), (66, 100, 15), (330, 500, 30)]  # at midnight UTC, 18 hours after 06:00


@pytest.mark.req("DSP-8")
@pytest.mark.parametrize("apart", ["profile", "since", "nothing"])
def test_every_number_has_the_limits_of_its_own_profile_at_its_own_age(written: Written, apart: str) -> None:
    facts, governance, now = fleet(written), written.file.applied, FIRST_DAY + timedelta(days=30)
    young, old = governance.numbers[0], governance.numbers[0].model_copy(update={"phone_number_id": TWO})
    if apart == "profile":
        old = old.model_copy(update={"profile": next(each for each in governance.profiles if each != old.profile)})
    elif apart == "since":
        young = young.model_copy(update={"since": (now - timedelta(days=1)).date()})
    governance = governance.model_copy(update={"numbers": (young, old)})
    assert bring_up_to_date(facts, governance, now) == [ONE, TWO]
    expected = [limits_of(governance.profile_at(number, now)) for number in governance.numbers]
    assert [facts[ONE].limits, facts[TWO].limits] == expected
    assert (expected[0] == expected[1]) == (apart == "nothing")
    assert bring_up_to_date(facts, governance, now) == []


@pytest.mark.req("DSP-8", "DSP-18")
def test_a_lane_takes_the_next_step_while_it_works(written: Written) -> None:
    """Twenty on the third day are still twenty of the hundred on the fourth."""
    facts, governance = fleet(written), written.file.applied
    lane = HandDriven(now=START)
    first_day = datetime.fromtimestamp(START, UTC).date() - timedelta(days=2)
    young = governance.numbers[0].model_copy(update={"since": first_day})
    governance = governance.model_copy(update={"numbers": (young, *governance.numbers[1:])})

    def look() -> None:
        bring_up_to_date(facts, governance, datetime.fromtimestamp(lane.now, UTC))
        lane.fleet.update({number: replace(facts[number], usable=True) for number in facts})
        repace(lane.state, lane.around)

    look()
    lane.take(*(order(f"message-{n}", life=5 * 86_400) for n in range(150)))
    sent = [len(lane.attempts)]
    while lane.now < START + 86_400:
        while lane.under_way:
            lane.answer(ACCEPTED, *lane.under_way[0])
        lane.round(20)
        look()
        sent.append(len(lane.attempts))
    assert sent[1000] == 20  # after five and a half hours, still on the third day
    assert len(lane.attempts) == 100


async def test_a_number_with_another_rate_gets_other_connections_and_the_rest_keep_theirs(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_1", "EAATEST-1")
    monkeypatch.setenv("TOKEN_2", "EAATEST-2")
    senders = Senders(Settings(), written.file.applied, Tokens())
    one, two = senders.client(ONE), senders.client(TWO)
    written.change("per_second: 10", "per_second: 100")
    newest = written.file.look()
    assert newest is not None
    senders.follow(newest)
    await senders.close_retired()
    assert senders.client(ONE) is one
    assert senders.client(TWO) is not two
    await senders.aclose()
