"""Who gets in: headers, sessions, and other sites' pages."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import Request

from harkara.console.access import COOKIE, Access
from harkara.policy import governance
from harkara.runtime.api_keys import ApiKey, ApiKeys
from harkara.runtime.clock import ManualClock
from harkara.runtime.problems import Problem

GOVERNANCE = governance.load(Path(__file__).parents[3] / "examples" / "governance.yaml")
START = datetime(2026, 11, 20, tzinfo=UTC)
TEXT = {"ops": "ops.secret-one", "shop": "shop.secret-two", "pooled": "pooled.secret-three"}
SENDERS = {"ops": None, "shop": "100000000000001", "pooled": "100000000000002"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


def keys(*ids: str) -> ApiKeys:
    return ApiKeys((ApiKey(i, i, SENDERS[i]), hashlib.sha256(TEXT[i].encode()).hexdigest()) for i in ids)


@pytest.fixture
def access(clock: ManualClock) -> Access:
    return Access(keys(*TEXT), GOVERNANCE, b"p" * 16, clock, 12)


def request(method: str = "GET", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "path": "/", "headers": raw, "query_string": b""})


def test_a_key_in_a_header(access: Access) -> None:
    assert access.caller(request(authorization=f"Bearer {TEXT['ops']}")).home is None
    assert access.caller(request(x_api_key=TEXT["shop"])).home == "100000000000001"
    assert access.caller(request(x_api_key=TEXT["pooled"])).home == "advisors"


@pytest.mark.parametrize(
    "headers",
    [{}, {"x_api_key": "ops.wrong"}, {"authorization": "Basic b3Bz"}, {"cookie": f"{COOKIE}=ops.9999999999.00"}],
)
def test_without_a_right_key_nobody_gets_in(access: Access, headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as refused:
        access.caller(request(**headers))
    assert (refused.value.status, refused.value.code) == (401, "UNAUTHORIZED")


def test_a_session_lasts_its_hours_and_no_longer_than_its_key(access: Access, clock: ManualClock) -> None:
    cookie = access.login(TEXT["ops"])
    assert cookie is not None
    assert access.caller(request(cookie=f"{COOKIE}={cookie}")).key.id == "ops"
    withdrawn = Access(keys("shop"), GOVERNANCE, b"p" * 16, clock, 12)
    with pytest.raises(Problem):
        withdrawn.caller(request(cookie=f"{COOKIE}={cookie}"))
    clock.advance(12 * 3600 + 1)
    with pytest.raises(Problem):
        access.caller(request(cookie=f"{COOKIE}={cookie}"))


def test_a_session_cannot_be_made_or_moved_to_another_key(access: Access, clock: ManualClock) -> None:
    cookie = access.login(TEXT["shop"]) or ""
    forged = cookie.replace("shop", "ops", 1)
    other_pepper = Access(keys(*TEXT), GOVERNANCE, b"q" * 16, clock, 12).login(TEXT["ops"])
    for each in (forged, other_pepper, cookie[:-1], "", "é.1.x"):
        with pytest.raises(Problem):
            access.caller(request(cookie=f"{COOKIE}={each}"))
    assert access.login("shop.wrong") is None


def test_a_command_by_session_comes_from_our_own_page(access: Access) -> None:
    cookie = f"{COOKIE}={access.login(TEXT['ops'])}"
    ours = {"host": "console.example", "cookie": cookie}
    assert access.caller(request("POST", **ours, sec_fetch_site="same-origin"))
    assert access.caller(request("POST", **ours, origin="https://console.example"))
    others: list[dict[str, str]] = [
        {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"origin": "https://evil.example"}, {},
    ]  # fmt: skip
    for each in others:
        with pytest.raises(Problem) as refused:
            access.caller(request("POST", **ours, **each))
        assert refused.value.code == "CROSS_SITE"
