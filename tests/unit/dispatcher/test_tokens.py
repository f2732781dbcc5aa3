"""Tokens: from the environment or a file, a changed file counts within a second, and a mark says which is which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harkara.dispatcher.senders import Senders, facts_of
from harkara.dispatcher.settings import Settings
from harkara.dispatcher.tokens import LOOK_SECONDS, NoToken, Tokens
from harkara.policy.governance import Governance, Number

ONE, TWO = "100000000000011", "100000000000012"


def number(phone_number_id: str = ONE, **token: Any) -> Number:
    shown = f"+9199999{phone_number_id[-5:]}"
    return Number(
        phone_number_id=phone_number_id,
        display_phone_number=shown,
        waba_id="200000000000011",
        portfolio_id="300000000000011",
        **token,
    )


class Elapsed:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.req("SEC-4", "FHL-9")
def test_a_file_that_changes_counts_within_a_second(tmp_path: Path) -> None:
    elapsed, path = Elapsed(), tmp_path / "token"
    path.write_text("EAATEST-first\n")
    tokens, own = Tokens(elapsed), number(token_file=path)
    assert tokens.of(own) == "EAATEST-first"
    before = tokens.mark(own)
    fresh = tmp_path / "fresh"
    fresh.write_text("EAATEST-other")
    fresh.rename(path)  # as Kubernetes swaps a Secret
    elapsed.seconds += LOOK_SECONDS
    assert tokens.of(own) == "EAATEST-other"
    assert tokens.mark(own) != before
    assert "EAATEST" not in before


def test_a_file_is_not_read_for_every_call(tmp_path: Path) -> None:
    elapsed, path = Elapsed(), tmp_path / "token"
    path.write_text("EAATEST-first")
    tokens = Tokens(elapsed)
    tokens.of(number(token_file=path))
    path.unlink()
    assert tokens.of(number(token_file=path)) == "EAATEST-first"
    elapsed.seconds += LOOK_SECONDS
    with pytest.raises(NoToken):
        tokens.of(number(token_file=path))


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_file_without_a_token_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(NoToken) as failure:
        Tokens().of(number(token_file=tmp_path / "token"))
    assert "token" in str(failure.value)
    assert Tokens().mark(number(token_file=tmp_path / "token")) == ""


@pytest.fixture
def governance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Governance:
    (tmp_path / "token").write_text("EAATEST-shared")
    monkeypatch.setenv("TOKEN_TWO", "EAATEST-shared")
    return Governance(
        numbers=(number(token_file=tmp_path / "token"), number(TWO, token_env="TOKEN_TWO")),
        compliance={"consent_mode": "opt_out"},
    )


def test_two_ways_to_one_token_have_one_mark(governance: Governance) -> None:
    facts = facts_of(governance, Tokens(), 4)
    assert facts[ONE].token == facts[TWO].token != ""
    assert facts[ONE].usable
    assert facts[ONE].portfolio_id == "300000000000011"


async def test_a_rotated_token_is_noticed_of_its_number_alone(governance: Governance, tmp_path: Path) -> None:
    elapsed = Elapsed()
    tokens = Tokens(elapsed)
    facts = facts_of(governance, tokens, 4)
    senders = Senders(Settings(), governance, tokens)
    assert senders.refreshed(facts) == []
    (tmp_path / "token").write_text("EAATEST-rotated")
    elapsed.seconds += LOOK_SECONDS
    assert senders.refreshed(facts) == [ONE]
    assert facts[ONE].token != facts[TWO].token
    (tmp_path / "token").unlink()
    elapsed.seconds += LOOK_SECONDS
    assert senders.refreshed(facts) == [ONE]
    assert not facts[ONE].usable
    await senders.aclose()
