"""Every code of Meta's list has a row; the rows that decide about people's messages are asserted one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harkara.graph_api.errors import (
    MAX_ATTEMPTS,
    NUMBER_PAUSE_SECONDS,
    Action,
    ErrorClass,
    Scope,
    codes_of,
    error_table,
    policy_for,
    policy_without_body,
    retry_delay_seconds,
)

LISTED = json.loads((Path(__file__).parents[2] / "fixtures/meta/error_codes.json").read_text(encoding="utf-8"))
ROWS = [(code, row) for row in LISTED["errors"] for code in codes_of(row["code"])]


def test_the_products_copy_is_the_listed_table() -> None:
    assert set(error_table()) == {code for code, _ in ROWS}
    assert {item.value for item in ErrorClass} == set(LISTED["classes"])


@pytest.mark.req("B6")
@pytest.mark.parametrize(("code", "row"), ROWS, ids=[str(code) for code, _ in ROWS])
def test_every_listed_code_has_a_policy_that_keeps_the_laws(code: int, row: dict[str, object]) -> None:
    policy = policy_for(code)
    assert (policy.code, policy.name, policy.error_class.value) == (code, row["name"], row["class"])
    if row["retry"] == "never":
        assert policy.action is Action.FAIL
    if policy.action is Action.HALT_NUMBER:
        assert policy.scope is Scope.NUMBER
    if policy.action is Action.HALT_WABA:
        assert policy.scope is (Scope.PORTFOLIO if code == 131064 else Scope.WABA)
    if policy.action in (Action.HALT_NUMBER, Action.HALT_WABA):
        assert policy.alert
        assert policy.keeps_message
        assert not policy.spends_attempt
        assert policy.hold_seconds is None
    if policy.action is Action.PAUSE:
        assert policy.hold_seconds is not None
    assert (policy.processed == "unknown") == (policy.action is Action.IN_DOUBT)
    if policy.action is not Action.RETRY:
        assert retry_delay_seconds(policy, 1) is None


DECISIONS: list[tuple[int, int | None, Action, Scope, float | None, bool]] = [
    (0, None, Action.HALT_NUMBER, Scope.NUMBER, None, True),
    (1, None, Action.IN_DOUBT, Scope.MESSAGE, 1.0, True),
    (2, None, Action.IN_DOUBT, Scope.MESSAGE, 1.0, False),
    (3, None, Action.HALT_WABA, Scope.WABA, None, True),
    (4, None, Action.PAUSE, Scope.APP, NUMBER_PAUSE_SECONDS, True),
    (10, None, Action.HALT_WABA, Scope.WABA, None, True),
    (33, None, Action.HALT_NUMBER, Scope.NUMBER, None, True),
    (100, None, Action.FAIL, Scope.MESSAGE, None, False),
    (100, 33, Action.HALT_NUMBER, Scope.NUMBER, None, True),
    (100, 2388072, Action.FAIL, Scope.TEMPLATE, None, False),
    (190, None, Action.HALT_NUMBER, Scope.NUMBER, None, True),
    (190, 463, Action.HALT_NUMBER, Scope.NUMBER, None, True),
    (200, None, Action.HALT_WABA, Scope.WABA, None, True),
    (250, None, Action.HALT_WABA, Scope.WABA, None, True),
    (368, None, Action.HALT_WABA, Scope.WABA, None, True),
    (80007, None, Action.PAUSE, Scope.WABA, NUMBER_PAUSE_SECONDS, True),
    (130429, None, Action.RETRY, Scope.NUMBER, 1.0, False),
    (130429, 2494055, Action.RETRY, Scope.NUMBER, 1.0, False),
    (130472, None, Action.FAIL, Scope.RECIPIENT, None, False),
    (130497, None, Action.FAIL, Scope.RECIPIENT, None, True),
    (131000, None, Action.IN_DOUBT, Scope.MESSAGE, 1.0, True),
    (131016, None, Action.RETRY, Scope.MESSAGE, 1.0, False),
    (131026, None, Action.FAIL, Scope.RECIPIENT, None, False),
    (131031, None, Action.HALT_WABA, Scope.WABA, None, True),
    (131045, None, Action.HALT_NUMBER, Scope.NUMBER, None, True),
    (131047, None, Action.REROUTE_TEMPLATE, Scope.PAIR, None, False),
    (131048, None, Action.PAUSE, Scope.NUMBER, NUMBER_PAUSE_SECONDS, True),
    (131049, None, Action.FAIL, Scope.RECIPIENT, 86_400.0, False),
    (131050, None, Action.FAIL, Scope.RECIPIENT, None, False),
    (131053, None, Action.FAIL, Scope.MESSAGE, None, False),
    (131056, None, Action.RETRY, Scope.PAIR, 1.0, False),
    (131057, None, Action.PAUSE, Scope.NUMBER, 120.0, False),
    (132000, None, Action.FAIL, Scope.TEMPLATE, None, False),
    (132001, None, Action.PAUSE_TEMPLATE, Scope.TEMPLATE, 600.0, True),
    (132015, None, Action.PAUSE_TEMPLATE, Scope.TEMPLATE, None, True),
    (132016, None, Action.PAUSE_TEMPLATE, Scope.TEMPLATE, None, True),
    (133010, None, Action.HALT_NUMBER, Scope.NUMBER, None, True),
]


@pytest.mark.req("B6")
@pytest.mark.parametrize(("code", "subcode", "action", "scope", "hold_seconds", "alert"), DECISIONS)
def test_the_decisions(
    code: int, subcode: int | None, action: Action, scope: Scope, hold_seconds: float | None, alert: bool
) -> None:
    policy = policy_for(code, subcode)
    held = None if policy.action is Action.IN_DOUBT else policy.hold_seconds
    wanted = None if action is Action.IN_DOUBT else hold_seconds
    assert (policy.action, policy.scope, held, policy.alert) == (action, scope, wanted, alert)


def test_an_unlisted_code_is_unknown_never_retried_and_alerted() -> None:
    policy = policy_for(999_999)
    assert (policy.error_class, policy.action, policy.alert) == (ErrorClass.UNKNOWN, Action.FAIL, True)


def test_the_retry_curves_in_numbers() -> None:
    def curve(code: int) -> list[float | None]:
        return [retry_delay_seconds(policy_for(code), refusals) for refusals in range(1, MAX_ATTEMPTS + 1)]

    assert curve(131016) == [1.0, 4.0, None]
    assert curve(131056) == [1.0, 4.0, None]  # 4^X s, X = 0, 1: three calls in all
    assert curve(130429) == [1.0, 2.0, None]


@pytest.mark.parametrize(
    ("http_status", "action", "scope"),
    [
        (302, Action.HALT_NUMBER, Scope.NUMBER),
        (400, Action.FAIL, Scope.MESSAGE),
        (401, Action.HALT_NUMBER, Scope.NUMBER),
        (403, Action.HALT_NUMBER, Scope.NUMBER),
        (404, Action.HALT_NUMBER, Scope.NUMBER),
        (407, Action.HALT_NUMBER, Scope.NUMBER),
        (408, Action.IN_DOUBT, Scope.MESSAGE),
        (413, Action.FAIL, Scope.MESSAGE),
        (429, Action.RETRY, Scope.NUMBER),
    ],
)
def test_without_a_body_the_status_decides(http_status: int, action: Action, scope: Scope) -> None:
    policy = policy_without_body(http_status)
    assert (policy.action, policy.scope, policy.code) == (action, scope, None)


def test_a_kept_message_spends_an_attempt_only_where_a_pause_of_its_template_ends_by_itself() -> None:
    assert not policy_for(132015).spends_attempt
    assert policy_for(132001).spends_attempt
    assert not policy_for(131048).spends_attempt
    assert policy_for(131016).spends_attempt
