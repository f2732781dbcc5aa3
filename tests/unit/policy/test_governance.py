"""governance.yaml: what it means, and that each mistake is named with its line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from harkara.policy.governance import BUILT_IN_PROFILES, Governance, load
from harkara.policy.governance_file import LARGEST_FILE_BYTES, GovernanceError

EXAMPLE = Path(__file__).parents[3] / "examples" / "governance.yaml"
VALID = """\
numbers:
  - phone_number_id: "100000000000001"
    display_phone_number: "+919999900001"
    waba_id: "200000000000001"
    portfolio_id: "300000000000001"
    token_env: TOKEN_1
  - phone_number_id: "100000000000002"
    display_phone_number: "+919999900002"
    waba_id: "200000000000001"
    portfolio_id: "300000000000001"
    profile: governance
    token_file: /run/secrets/token-2
pools:
  - name: advisors
    numbers: ["100000000000002"]
compliance:
  consent_mode: opt_out
"""


def read(tmp_path: Path, text: str) -> Governance:
    path = tmp_path / "governance.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(GovernanceError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


@pytest.mark.req("OPS-8", "DX-2")
def test_the_example_is_what_the_demo_needs() -> None:
    governance = load(EXAMPLE)
    assert [number.phone_number_id for number in governance.numbers] == [f"10000000000000{n}" for n in (1, 2, 3)]
    assert governance.home_of("100000000000001") == "100000000000001"
    assert governance.home_of("100000000000003") == governance.home_of("advisors") == "advisors"
    assert set(governance.dispatch.in_doubt_timeout_seconds.values()) == {10.0}


def test_defaults_are_the_designs(tmp_path: Path) -> None:
    governance = read(tmp_path, VALID)
    assert governance.dispatch.in_doubt_timeout_seconds == {
        "authentication": 20,
        "utility": 900,
        "marketing": 86400,
        "service": 60,
    }
    assert governance.routing.window_margin_minutes == 10
    assert governance.profiles == BUILT_IN_PROFILES
    assert governance.profile_of(governance.numbers[0]).per_second == 80


@pytest.mark.req("DSP-8")
def test_a_numbers_profile_is_that_of_its_age(tmp_path: Path) -> None:
    governance = read(tmp_path, VALID.replace("profile: governance", "profile: trust-level\n    since: 2026-11-01"))
    number = governance.numbers[1]
    per_day = [governance.profile_at(number, datetime(2026, 11, day, 12, tzinfo=UTC)).per_day for day in (1, 3, 4, 15)]
    assert per_day == [20, 20, 100, 500]
    assert governance.profile_of(number).per_day == 500
    assert governance.profile_at(governance.numbers[0], datetime.now(UTC)).per_second == 80


def test_homes_and_numbers_are_found(tmp_path: Path) -> None:
    governance = read(tmp_path, VALID)
    assert governance.home_of("100000000000009") is None
    assert [n.phone_number_id for n in governance.numbers_of("advisors")] == ["100000000000002"]
    assert [n.phone_number_id for n in governance.numbers_of("100000000000001")] == ["100000000000001"]
    assert governance.numbers_of("100000000000002") == ()  # at home in the pool
    assert governance.number_by_display("919999900002") == governance.number("100000000000002")
    assert governance.number_by_display("+91 99999-00002") == governance.number("100000000000002")
    assert governance.number_by_display("919999900009") is None


def test_the_version_is_of_the_content_alone(tmp_path: Path) -> None:
    version = read(tmp_path, VALID).version
    assert len(version) == 12
    assert read(tmp_path, "# a comment\n" + VALID.replace('"opt_out"', "opt_out")).version == version
    assert read(tmp_path, VALID + "routing: {window_margin_minutes: 10}\n").version == version
    assert read(tmp_path, VALID + "routing: {window_margin_minutes: 11}\n").version != version


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("profile: governance", "profile: trust-level", "governance.yaml:11: numbers[1].profile: 'trust-level' paces"),
        ("compliance:", "profiles: {a: {per_second: 1, stages: [{until_days: 3}, {until_days: 2}]}}\ncompliance:",
         "governance.yaml:16: profiles.a.stages: stages must grow"),
        ("compliance:", "profiles: {a: {per_second: 1, stages: [{until_days: 3, per_second: 2}]}}\ncompliance:",
         "governance.yaml:16: profiles.a: a stage may not be looser than its profile: per_second 2 above 1"),
        ("profile: governance", "profile: fast", "governance.yaml:11: numbers[1].profile: there is no profile 'fast'"),
        (
            'phone_number_id: "100000000000002"',
            'phone_number_id: "100000000000001"',
            "governance.yaml:7: numbers[1].phone_number_id: 100000000000001 is listed twice",
        ),
        ("+919999900002", "+919999900001", "governance.yaml:8: numbers[1].display_phone_number: another number"),
        ('["100000000000002"]', '["100000000000007"]', "governance.yaml:15: pools[0].numbers[0]: 1000000000"),
        ("name: advisors", 'name: "100000000000001"', "governance.yaml:14: pools[0].name: 100000000000001 is a phone"),
        ("token_env: TOKEN_1", "token: EAATEST1", "governance.yaml:6: numbers[0].token: there is no such setting"),
        ("    token_env: TOKEN_1\n", "", "governance.yaml:2: numbers[0]: give either token_env or token_file"),
        ('waba_id: "200000000000001"', "waba_id: 200000000000001", "governance.yaml:4: numbers[0].waba_id: must be"),
        ("+919999900001", "919999900001", "governance.yaml:3: numbers[0].display_phone_number: must be a number with"),
        ("consent_mode: opt_out", "consent_mode: none", "governance.yaml:17: compliance.consent_mode: must be expl"),
        ("  consent_mode: opt_out", "  opt_out_words: [nako]", "governance.yaml:16: compliance.consent_mode: is mis"),
        ("consent_mode: opt_out", "consent_mode: opt_out\n  opt_out_words: ['-stop']", "governance.yaml:18: complianc"),
        ("consent_mode: opt_out", "consent_mode: opt_out\n  opt_out_words: [Start]", "governance.yaml:18: compliance."),
        ("consent_mode: opt_out", "consent_mode: opt_out\n  allowed_countries: [India]", "governance.yaml:18: complia"),
        ("compliance:", "dispatch: {max_attempts: 9}\ncompliance:",
         "governance.yaml:16: dispatch.max_attempts: must be 3 or less"),
        ("compliance:", "profiles: {cloud-api: {per_second: 9}}\ncompliance:", "governance.yaml:16: profiles: 'cl"),
        ("compliance:", "compliance: {", "governance.yaml:"),
        ("pools:", "numbers:", "governance.yaml:13: found duplicate key"),
        ("consent_mode: opt_out", "consent_mode: opt_out\n  opt_out_words: ['!']", "governance.yaml:18: compliance."),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in VALID
    found = problems(tmp_path, VALID.replace(old, new, 1))
    assert any(line.startswith(expected) for line in found), found


def test_a_number_is_in_one_pool_only_and_pools_have_names_of_their_own(tmp_path: Path) -> None:
    twice = VALID.replace("compliance:", '  - {name: advisors, numbers: ["100000000000002"]}\ncompliance:')
    assert problems(tmp_path, twice) == [
        "governance.yaml:16: pools[1].name: pool 'advisors' is listed twice",
        "governance.yaml:16: pools[1].numbers[0]: 100000000000002 is in pool 'advisors' already",
    ]


def test_every_mistake_is_listed_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, VALID.replace("opt_out", "none").replace("TOKEN_1", "token-1"))
    assert [line.split(": ")[0] for line in found] == ["governance.yaml:6", "governance.yaml:17"]


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(GovernanceError, match=r"cannot be read: No such file.*HARKARA_GOVERNANCE_FILE"):
        load(tmp_path / "nothing.yaml")
    assert problems(tmp_path, "- a list\n") == [
        "governance.yaml:1: must hold sections (numbers, pools, compliance ...)"
    ]


def test_in_doubt_policies_can_only_be_made_stricter(tmp_path: Path) -> None:
    strict = read(tmp_path, VALID + "dispatch: {in_doubt_policy: {authentication: unknown}}\n")
    assert strict.dispatch.in_doubt_policy == {
        "authentication": "unknown",
        "utility": "resend",
        "marketing": "unknown",
        "service": "unknown",
    }
    with pytest.raises(GovernanceError, match="marketing messages are never sent again unasked"):
        read(tmp_path, VALID + "dispatch:\n  in_doubt_policy: {marketing: resend}\n")


def test_a_number_may_have_a_way_out_of_its_own(tmp_path: Path) -> None:
    own = VALID.replace("    token_env: TOKEN_1\n", "    token_env: TOKEN_1\n    local_address: 10.0.0.7\n")
    assert str(read(tmp_path, own).numbers[0].local_address) == "10.0.0.7"
    proxied = VALID.replace(
        "    token_env: TOKEN_1\n", "    token_env: TOKEN_1\n    proxy: http://proxy.internal:3128\n"
    )
    assert read(tmp_path, proxied).numbers[0].proxy == "http://proxy.internal:3128"
    both = own.replace("    local_address", "    proxy: http://proxy.internal:3128\n    local_address")
    with pytest.raises(GovernanceError, match="not both"):
        read(tmp_path, both)


def test_a_portfolio_has_numbers_is_listed_once_and_has_a_limit(tmp_path: Path) -> None:
    listed = '  - {id: "300000000000001", limit: 250}\n'
    assert read(tmp_path, VALID + "portfolios:\n" + listed).portfolios[0].limit == 250
    unlimited = listed.replace("250", "unlimited")
    assert read(tmp_path, VALID + "portfolios:\n" + unlimited).portfolios[0].limit == "unlimited"
    for wrong, why in (
        (listed * 2, "listed twice"),
        (listed.replace("300000000000001", "300000000000009"), "no number has the portfolio_id"),
        (listed.replace("250", "0"), "portfolios[0].limit: must be 1 or more"),
    ):
        assert why in "\n".join(problems(tmp_path, VALID + "portfolios:\n" + wrong))


@pytest.mark.parametrize(("length", "right"), [(64, True), (65, False)])
def test_an_opt_out_word_has_at_most_64_characters(tmp_path: Path, length: int, right: bool) -> None:
    text = VALID + f"  opt_out_words: ['{'a' * length}']\n"
    if right:
        assert read(tmp_path, text).compliance.opt_out_words == ("a" * length,)
    else:
        assert "is not a word of 1 to 64 characters" in problems(tmp_path, text)[0]


def test_a_file_that_is_far_too_large_is_not_even_parsed(tmp_path: Path) -> None:
    assert problems(tmp_path, VALID + "#" * LARGEST_FILE_BYTES) == [
        f"governance.yaml: is larger than {LARGEST_FILE_BYTES} bytes"
    ]
