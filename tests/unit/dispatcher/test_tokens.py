"""Tokens: from the environment or a file, a changed file counts within a second, and a mark says which is which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog

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


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize("text", ["EAATEST-one\n", " EAATEST-one", "EAATEST-one\r\n"])
def test_white_space_around_a_token_is_none_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A Secret made with `echo` ends in a line's end, which no header can carry."""
    monkeypatch.setenv("TOKEN_ONE", text)
    (tmp_path / "token").write_text(text)
    for own in (number(token_env="TOKEN_ONE"), number(token_file=tmp_path / "token")):
        assert Tokens().of(own) == "EAATEST-one"


@pytest.mark.parametrize("text", ["EAA\u2013TEST", "EAA TEST", "EAA\x00TEST", "EAA\nTEST", "EAATESTé"])
def test_a_token_that_no_header_can_carry_is_none_and_is_not_repeated(tmp_path: Path, text: str) -> None:
    """The number waits for a good one; a call with it would be refused, or never be made."""
    elapsed, path = Elapsed(), tmp_path / "token"
    path.write_text("EAATEST-good")
    tokens, own = Tokens(elapsed), number(token_file=path)
    assert tokens.of(own) == "EAATEST-good"
    path.write_text(text)
    elapsed.seconds += LOOK_SECONDS
    with pytest.raises(NoToken) as failure:
        tokens.of(own)
    assert str(path) in str(failure.value) and "TEST" not in str(failure.value).replace(str(path), "")
    assert tokens.mark(own) == ""


def test_why_there_is_none_is_logged_once_for_each_reason(tmp_path: Path) -> None:
    elapsed, path = Elapsed(), tmp_path / "token"
    tokens, own = Tokens(elapsed), number(token_file=path)

    def told(text: str | None) -> list[str]:
        if text is not None:
            path.write_text(text)
        elapsed.seconds += LOOK_SECONDS
        with structlog.testing.capture_logs() as logs:
            tokens.mark(own)
            tokens.mark(own)
        return [f"{each['event']}: {each['reason']}" for each in logs]

    assert told(None) == [f"token_missing: {path}: FileNotFoundError"]
    assert told(None) == []
    assert told("EAA TEST") == [
        f"token_missing: {path}: character 4 of 8 is white space: an access token has none of these"
    ]
    assert told("EAATEST") == []
    assert told("EAA TEST-2") != [], "again, after a good one"


def test_of_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_ONE", "EAA\u2013TEST")
    with pytest.raises(NoToken, match="TOKEN_ONE: character 4 of 8 is no visible ASCII character"):
        Tokens().of(number(token_env="TOKEN_ONE"))
    monkeypatch.setenv("TOKEN_ONE", " \n")
    with pytest.raises(NoToken, match="TOKEN_ONE is empty"):
        Tokens().of(number(token_env="TOKEN_ONE"))
