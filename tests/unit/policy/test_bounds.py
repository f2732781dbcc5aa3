"""How far each setting of governance.yaml may go: the last value that is taken on either side, and the first that is
refused. A bound that moved would let a number be paced, or a person be written to, as nobody has weighed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from harkara.policy.governance import (
    BUILT_IN_PROFILES,
    Dispatch,
    Governance,
    Number,
    Pool,
    Portfolio,
    Profile,
    Stage,
)
from harkara.policy.mistakes import Inconsistent
from harkara.policy.sections import (
    AdvisorIdentification,
    CircuitBreaker,
    Compliance,
    ContentApproval,
    DuplicateContent,
    FrequencyCap,
    Routing,
    Section,
    SendWindow,
    Silence,
    Telemetry,
    Templates,
)
from tests.unit.policy.cases import ALONE, FIRST, number, policy

NEEDED: dict[type[Section], dict[str, Any]] = {
    Stage: {"until_days": 1},
    Profile: {"per_second": 1},
    Portfolio: {"id": "300000000000001", "limit": 250},
    FrequencyCap: {"purpose": "marketing", "most": 1, "per_hours": 24},
    DuplicateContent: {"within_hours": 24},
    SendWindow: {"hours": "06:00-09:00"},
    AdvisorIdentification: {"texts": ["INH000001"]},
    ContentApproval: {"tags": ["a"]},
    Compliance: {"consent_mode": "explicit"},
    Pool: {"name": "advisors", "numbers": [FIRST]},
}
"""What a section cannot be without."""


def taken(section: type[Section], setting: str, value: object) -> bool:
    try:
        section.model_validate(NEEDED.get(section, {}) | {setting: value})
    except ValidationError as error:
        assert all(each["loc"][0] == setting for each in error.errors()), error
        return False
    return True


@pytest.mark.req("OPS-8")
@pytest.mark.parametrize(
    ("section", "setting", "below", "lowest", "highest", "above"),
    [
        (Stage, "until_days", 0, 1, 3650, 3651),
        (Stage, "per_second", 0, 1, 1000, 1001),
        (Profile, "per_second", 0, 1, 1000, 1001),
        (Profile, "base_delay_ms", -1, 0, 600_000, 600_001),
        (Profile, "max_jitter_ms", -1, 0, 600_000, 600_001),
        (Profile, "typing_max_ms", -1, 0, 20_000, 20_001),
        (Profile, "gap_variation", -0.01, 0, 0.5, 0.51),
        (Portfolio, "limit", 0, 1, 1_000_000, 1_000_001),
        (Dispatch, "max_attempts", 0, 1, 3, 4),
        (Dispatch, "number_pause_minutes", 0.9, 1, 1440, 1440.1),
        (Dispatch, "request_timeout_seconds", 0, 0.001, 20, 20.1),
        (Dispatch, "lease_seconds", 0.4, 0.5, 5, 5.1),
        (FrequencyCap, "most", 0, 1, 100, 101),
        (FrequencyCap, "per_hours", 0.2, 0.25, 168, 168.1),
        (DuplicateContent, "within_hours", 0.2, 0.25, 168, 168.1),
        (Routing, "window_margin_minutes", -0.1, 0, 720, 720.1),
        (Templates, "sync_minutes", 0.9, 1, 1440, 1440.1),
        (Silence, "status_minutes", 0.9, 1, 1440, 1440.1),
        (Silence, "number_minutes", 0.9, 1, 1440, 1440.1),
        (Telemetry, "health_poll_seconds", 4.9, 5, 3600, 3600.1),
    ],
)
def test_a_figure_has_a_lowest_and_a_highest(
    section: type[Section], setting: str, below: float, lowest: float, highest: float, above: float
) -> None:
    assert [taken(section, setting, each) for each in (below, lowest, highest, above)] == [False, True, True, False]


@pytest.mark.parametrize("section", [Stage, Profile])
@pytest.mark.parametrize("setting", ["per_minute", "per_hour", "per_day", "media_per_hour"])
def test_a_limit_of_a_longer_span_is_at_least_one(section: type[Section], setting: str) -> None:
    assert [taken(section, setting, each) for each in (0, 1, 1_000_000)] == [False, True, True]


def test_typing_is_shown_for_at_most_twenty_seconds_and_not_for_less_than_its_least() -> None:
    def shown(least: int, most: int) -> Profile:
        return Profile(per_second=1, typing_min_ms=least, typing_max_ms=most)

    assert shown(20_000, 20_000).typing_min_ms == 20_000
    assert shown(0, 0).typing_max_ms == 0
    for least, most in ((-1, 10), (20_001, 20_001), (11, 10)):
        with pytest.raises(ValidationError):
            shown(least, most)


@pytest.mark.parametrize(
    ("section", "setting", "key", "below", "lowest", "highest", "above"),
    [
        (Dispatch, "in_doubt_timeout_seconds", "utility", 0.9, 1, 518_400, 518_401),  # 6 days of the lane's memory of 7
        (Dispatch, "weights", "crm", 0.05, 0.1, 100, 100.1),
        (
            Silence,
            "time_to_live_minutes",
            "utility",
            0.4,
            0.5,
            34_560,
            34_560.1,
        ),  # 24 of the 25 days that a state is kept
        (Templates, "prices", "utility", -0.01, 0, 1e9, -1.0),
    ],
)
def test_a_figure_by_name_has_a_lowest_and_a_highest(
    section: type[Section], setting: str, key: str, below: float, lowest: float, highest: float, above: float
) -> None:
    found = [taken(section, setting, {key: each}) for each in (below, lowest, highest, above)]
    assert found == [False, True, True, False]


def person_keys(count: int) -> list[str]:
    return [f"{place:032x}" for place in range(count)]


@pytest.mark.parametrize(
    ("section", "setting", "made", "fewest", "most"),
    [
        (AdvisorIdentification, "texts", lambda n: [f"INH{place:06}" for place in range(n)], 1, 100),
        (AdvisorIdentification, "templates", lambda n: [f"t{place}" for place in range(n)], 0, 1000),
        (AdvisorIdentification, "categories", lambda n: ["utility"] * n, 1, None),
        (ContentApproval, "tags", lambda n: [f"tag-{place}" for place in range(n)], 1, 10_000),
        (ContentApproval, "categories", lambda n: ["utility"] * n, 1, None),
        (DuplicateContent, "purposes", lambda n: ["utility"] * n, 1, None),
        (SendWindow, "categories", lambda n: ["utility"] * n, 1, None),
        (Compliance, "opt_out_words", lambda n: tuple(f"word{place}" for place in range(n)), 0, 200),
        (Compliance, "do_not_message", person_keys, 0, 10_000),
        (Compliance, "frequency_caps", lambda n: [_cap(place, n) for place in range(n)], 0, 20),
        (Routing, "send_windows", lambda n: {f"w{place}": {"hours": "06:00-09:00"} for place in range(n)}, 0, 100),
        (Routing, "language_fallback", lambda n: {_language(place): ["en_GB"] for place in range(n)}, 0, 200),
        (Profile, "stages", lambda n: [{"until_days": place + 1} for place in range(n)], 0, 10),
        (Pool, "numbers", lambda n: [FIRST] * n, 1, None),
    ],
)
def test_a_list_has_a_fewest_and_a_most(
    section: type[Section], setting: str, made: Any, fewest: int, most: int | None
) -> None:
    assert taken(section, setting, made(fewest))
    assert fewest == 0 or not taken(section, setting, made(fewest - 1))
    assert most is None or (taken(section, setting, made(most)), taken(section, setting, made(most + 1))) == (
        True,
        False,
    )


def _cap(place: int, count: int) -> dict[str, Any]:
    """Each allows more in a longer span, so that none of them is pointless."""
    return {"purpose": "marketing", "most": place + 1, "per_hours": place + 1}


def _language(place: int) -> str:
    return f"{chr(97 + place // 26)}{chr(97 + place % 26)}"


@pytest.mark.parametrize(
    ("section", "setting", "shortest", "longest", "in_list"),
    [(SendWindow, "contract", 8, 200, False), (AdvisorIdentification, "texts", 4, 64, True)],
)
def test_a_text_has_a_shortest_and_a_longest(
    section: type[Section], setting: str, shortest: int, longest: int, in_list: bool
) -> None:
    texts = ["x" * length for length in (shortest - 1, shortest, longest, longest + 1)]
    found = [taken(section, setting, [text] if in_list else text) for text in texts]
    assert found == [False, True, True, False]


def test_there_is_a_number_and_at_most_a_hundred_portfolios() -> None:
    with pytest.raises(ValidationError):
        policy(numbers=[], pools=[])
    ids = [f"3{place:014}" for place in range(101)]
    numbers = [number(f"1{place:014}", portfolio_id=each) for place, each in enumerate(ids)]

    def of(count: int) -> Governance:
        return policy(numbers=numbers, pools=[], portfolios=[{"id": each, "limit": 250} for each in ids[:count]])

    assert len(of(100).portfolios) == 100
    with pytest.raises(ValidationError, match="at most 100"):
        of(101)


@pytest.mark.parametrize("word", ["x" * 64, "halt", "रुको"])
def test_an_opt_out_word_has_at_most_64_characters(word: str) -> None:
    assert taken(Compliance, "opt_out_words", (word,))


@pytest.mark.parametrize("word", ["x" * 65, "", "  ", "-stop", "!stop", "~stop", " -stop", "start"])
def test_what_is_no_opt_out_word_is_refused(word: str) -> None:
    assert not taken(Compliance, "opt_out_words", (word,))


@pytest.mark.req("OPS-8")
def test_what_a_file_that_says_nothing_gets() -> None:
    """The defaults are decisions too: they are what most numbers run by."""
    quiet = policy(routing={})
    assert quiet.dispatch.model_dump() == {
        "in_doubt_timeout_seconds": {"authentication": 20.0, "utility": 900.0, "marketing": 86_400.0, "service": 60.0},
        "in_doubt_policy": {
            "authentication": "resend",
            "utility": "resend",
            "marketing": "unknown",
            "service": "unknown",
        },
        "max_attempts": 3,
        "number_pause_minutes": 30.0,
        "request_timeout_seconds": 10.0,
        "lease_seconds": 2.0,
        "weights": {},
    }
    assert quiet.routing.model_dump() == {
        "window_margin_minutes": 10.0,
        "window_hours": 24,
        "fallback_to_template": True,
        "quiet_hours": {
            "marketing": "23:00-07:00",
            "utility": "23:00-07:00",
            "authentication": "none",
            "service": "none",
        },
        "send_windows": {},
        "default_time_zone": None,
        "language_fallback": {"mr": ("hi", "en"), "hi": ("en",)},
    }
    assert quiet.telemetry.health_poll_seconds == 300
    assert quiet.telemetry.silence.model_dump() == {
        "status_minutes": 15.0,
        "number_minutes": 10.0,
        "time_to_live_minutes": {
            "authentication": 10.0,
            "utility": 34_560.0,
            "marketing": 34_560.0,
            "service": 34_560.0,
        },
    }
    assert (quiet.templates.unknown, quiet.templates.sync_minutes, quiet.templates.currency) == ("allow", 15.0, "INR")
    assert quiet.compliance.hard_block is True


@pytest.mark.req("DSP-3", "DSP-4", "DSP-5", "DSP-7", "DSP-8")
def test_the_built_in_profiles_are_those_that_were_asked_for() -> None:
    found = {name: profile.model_dump(exclude_defaults=True) for name, profile in BUILT_IN_PROFILES.items()}
    assert found == {
        "governance": {
            "per_second": 1,
            "per_minute": 20,
            "base_delay_ms": 2000,
            "max_jitter_ms": 1500,
            "gap_variation": 0.4,
            "randomised_order": True,
        },
        "conservative": {
            "per_second": 5,
            "per_minute": 20,
            "per_hour": 1000,
            "media_per_hour": 100,
            "base_delay_ms": 5000,
        },
        "trust-level": {
            "per_second": 1,
            "per_minute": 30,
            "per_day": 500,
            "base_delay_ms": 3000,
            "max_jitter_ms": 2000,
            "stages": (
                {"until_days": 3, "per_minute": 5, "per_day": 20},
                {"until_days": 14, "per_minute": 15, "per_day": 100},
            ),
        },
        "cloud-api": {"per_second": 80},
        "cloud-api-high": {"per_second": 1000},
    }
    assert Profile(per_second=1).model_dump(exclude={"per_second"}, exclude_none=True) == {
        "base_delay_ms": 0,
        "max_jitter_ms": 0,
        "typing_min_ms": 0,
        "typing_max_ms": 0,
        "gap_variation": 0.0,
        "randomised_order": False,
        "stages": (),
    }


@pytest.mark.parametrize(("place", "rest"), [(ALONE, {"token_file": "/run/secrets/t"}), (FIRST, {"token_env": None})])
def test_a_number_has_one_token(place: str, rest: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either token_env or token_file"):
        Number.model_validate(number(place) | rest)


def refusal(section: type[Section], **given: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        section.model_validate(NEEDED.get(section, {}) | given)
    return str(caught.value)


@pytest.mark.req("OPS-8", "CMP-3", "RTW-2")
@pytest.mark.parametrize(
    ("section", "setting", "safe", "unsafe", "told"),
    [
        (Compliance, "hard_block", True, (False, 1, "true"), "must be true: who opted out is never written to"),
        (Routing, "window_hours", 24, (23, 48, True), "must be 24: the customer service window is Meta's"),
        (Routing, "fallback_to_template", True, (False, 1), "must be true: outside the window Meta takes nothing but"),
        (CircuitBreaker, "on_limited", "pause_proactive", ("warn", None), "must be pause_proactive: a limited number"),
        (CircuitBreaker, "on_blocked", "halt_all", ("pause_proactive",), "must be halt_all: a blocked number sends"),
        (CircuitBreaker, "retry_policy", "none", ("retry", True), "must be none: a call that Meta refused for its"),
    ],
)
def test_a_setting_with_one_safe_value_takes_no_other(
    section: type[Section], setting: str, safe: object, unsafe: tuple[object, ...], told: str
) -> None:
    assert taken(section, setting, safe)
    for each in unsafe:
        assert told in refusal(section, **{setting: each})


@pytest.mark.req("B25", "OPS-8")
@pytest.mark.parametrize(
    ("caps", "told"),
    [
        ([("marketing", 2, 24)], None),
        ([("marketing", 2, 24), ("marketing", 3, 168)], None),
        ([("marketing", 2, 24), ("utility", 2, 24)], None),
        ([("marketing", 2, 24), ("utility", 1, 168)], None),
        ([("marketing", 2, 24), ("marketing", 3, 24)], (1, "there is a cap of marketing per 24 hours already")),
        ([("marketing", 3, 24), ("marketing", 3, 168)], (0, "is never reached: of marketing no more than 3 go in 168")),
        ([("marketing", 2, 168), ("marketing", 3, 24)], (1, "is never reached: of marketing no more than 2 go in 168")),
    ],
)
def test_a_cap_that_decides_nothing_is_refused_by_its_place(
    caps: list[tuple[str, int, float]], told: tuple[int, str] | None
) -> None:
    given = [{"purpose": purpose, "most": most, "per_hours": hours} for purpose, most, hours in caps]
    assert taken(Compliance, "frequency_caps", given) == (told is None)
    if told is not None:
        with pytest.raises(Inconsistent) as caught:
            Compliance._caps_that_count(tuple(FrequencyCap.model_validate(each) for each in given))
        assert [(place, text.startswith(told[1])) for place, text in caught.value.problems] == [
            ((told[0], "most"), True)
        ]


@pytest.mark.req("CMP-17")
@pytest.mark.parametrize(("section", "setting"), [(Routing, "default_time_zone"), (SendWindow, "time_zone")])
def test_a_clock_is_one_of_the_worlds(section: type[Section], setting: str) -> None:
    found = [taken(section, setting, zone) for zone in ("Asia/Kolkata", None, "Asia/Atlantis", "IST+5")]
    assert found == [True, True, False, False]


def test_hours_are_a_part_of_the_day() -> None:
    def allowed(hours: str) -> list[bool]:
        return [taken(SendWindow, "hours", hours), taken(Routing, "quiet_hours", {"utility": hours})]

    for hours in ("00:00-24:00", "23:00-07:00", "09:00-09:01"):
        assert allowed(hours) == [True, True]
    for hours in ("09:00-09:00", "24:00-07:00", "9:00-18:00", "09:00-24:01"):
        assert allowed(hours) == [False, False]


def test_the_longest_is_waited_for_where_the_category_is_not_known() -> None:
    silence = Silence.model_validate({"time_to_live_minutes": {"utility": 60}})
    asked = ("authentication", "utility", "marketing", None, "another")
    assert [silence.time_to_live(each) for each in asked] == [10.0, 60.0, 34_560.0, 34_560.0, 34_560.0]


@pytest.mark.parametrize("chain", [["hi", "hi"], ["mr"], ["en", "mr"]])
def test_a_language_stands_once_in_a_chain(chain: list[str]) -> None:
    assert not taken(Routing, "language_fallback", {"mr": chain})
    assert taken(Routing, "language_fallback", {"mr": ["hi", "en"]})


@pytest.mark.parametrize("given", [None, "none", "off", False, ""])
def test_there_is_no_sending_without_a_consent_mode(given: object) -> None:
    assert "without consent nobody is written to" in refusal(Compliance, consent_mode=given)


@pytest.mark.parametrize("given", [None, False, []])
def test_opt_out_words_cannot_be_switched_off(given: object) -> None:
    assert "cannot be switched off" in refusal(Compliance, opt_out_words=given)
