"""Access tokens as people write them down, and the three services that read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harkara.graph_api.token import UnusableToken, token_in
from harkara.policy.governance import Number
from harkara.quality_monitor import effects as quality_monitor
from harkara.template_manager import effects as template_manager


@pytest.mark.parametrize(
    ("text", "token"),
    [("EAAX", "EAAX"), (" EAAX\r\n", "EAAX"), ("\tEAAX\n\n", "EAAX"), ("", ""), (" \n", ""), ("!~", "!~")],
)
def test_white_space_around_it_does_not_count(text: str, token: str) -> None:
    assert token_in(text) == token


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("EAA X", "character 4 of 5 is white space"),
        ("EAA\nX-Other: 1", "character 4 of 14 is white space"),
        ("EAA\u2013X", "character 4 of 5 is no visible ASCII character"),
        ("\ufeffEAAX", "character 1 of 5 is no visible ASCII character"),
        ("EAA\x7fX", "character 4 of 5 is no visible ASCII character"),
    ],
)
def test_what_no_header_can_carry_is_refused_without_being_shown(text: str, why: str) -> None:
    with pytest.raises(UnusableToken, match=why) as failure:
        token_in(text)
    assert "EAA" not in str(failure.value)


def number(path: Path | None = None) -> Number:
    token = {"token_env": "TOKEN_ONE"} if path is None else {"token_file": path}
    return Number.model_validate(
        {
            "phone_number_id": "100000000000011",
            "display_phone_number": "+919999900011",
            "waba_id": "200000000000011",
            "portfolio_id": "300000000000011",
            **token,
        }
    )


def test_the_services_that_ask_meta_read_it_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("EAATEST\n")
    bad.write_text("EAA\u2013TEST")
    monkeypatch.setenv("TOKEN_ONE", "EAATEST\n")
    for own in (number(), number(good)):
        assert quality_monitor.token_of(own) == template_manager.token_of([own]) == "EAATEST"
    assert template_manager.token_of([number(bad), number(good)]) == "EAATEST", "the next one's"
    with pytest.raises(quality_monitor.TokenMissing, match="character 4 of 8"):
        quality_monitor.token_of(number(bad))
    with pytest.raises(template_manager.TokenMissing):
        template_manager.token_of([number(bad)])
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(quality_monitor.TokenMissing):
        quality_monitor.token_of(number(bad))
