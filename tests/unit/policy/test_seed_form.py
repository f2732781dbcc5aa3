"""governance.yaml as the governance template writes it: the same policy, and nothing of it passed over in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from harkara.policy.governance import Governance, load_with_notes
from harkara.policy.governance_file import GovernanceError

TEMPLATE = """\
governance:
  dispatch:
    base_delay_ms: 2000
    max_jitter_ms: 1500
    max_per_minute: 20
    timezone_enforcement: true
  compliance:
    opt_out_keywords: ["stop", "cancel", "optout", "parar", "sair"]
    hard_block: true
    audit_log_path: "/var/log/wa-governance/audit.json"
  routing:
    window_hours: 24
    fallback_to_template: true
    template_error_code: 131047
  telemetry:
    poll_interval_seconds: 300
    circuit_breaker:
      on_limited: "pause_proactive"
      on_blocked: "halt_all"
      retry_policy: "none"
  sessions:
    isolation_mode: "strict"
    ip_binding: "dedicated"
    vault_path: "./vault"
"""
NUMBERS = """\
numbers:
  - phone_number_id: "100000000000001"
    display_phone_number: "+919999900001"
    waba_id: "200000000000001"
    portfolio_id: "300000000000001"
    token_env: TOKEN_1
    local_address: 192.0.2.7
"""


def read(tmp_path: Path, text: str) -> tuple[Governance, list[str]]:
    path = tmp_path / "governance.yaml"
    path.write_text(text, encoding="utf-8")
    return load_with_notes(path)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(GovernanceError) as caught:
        read(tmp_path, text)
    return caught.value.problems


@pytest.mark.req("DX-2", "CMP-17")
@pytest.mark.parametrize("text", [TEMPLATE + NUMBERS, NUMBERS + TEMPLATE])
def test_the_template_with_numbers_beside_it_is_a_policy(tmp_path: Path, text: str) -> None:
    governance, notes = read(tmp_path, text)
    [number] = governance.numbers
    profile = governance.profile_of(number)
    assert (profile.base_delay_ms, profile.max_jitter_ms, profile.per_minute) == (2000, 1500, 20)
    assert profile.randomised_order and profile.gap_variation >= 0.4
    assert governance.compliance.consent_mode == "explicit"
    assert set(governance.compliance.opt_out_words) == {"stop", "cancel", "optout", "parar", "sair"}
    assert governance.routing.quiet_hours["utility"] == governance.routing.quiet_hours["marketing"] == "23:00-07:00"
    assert governance.telemetry.health_poll_seconds == 300
    assert [note.split()[0] for note in notes] == [
        "compliance.audit_log_path", "sessions.vault_path", "compliance.consent_mode",
    ]  # fmt: skip


def test_the_template_alone_says_what_it_lacks(tmp_path: Path) -> None:
    assert problems(tmp_path, TEMPLATE) == ["governance.yaml:1: numbers: is missing"]


def test_a_number_keeps_a_profile_of_its_own_and_pools_stand_beside(tmp_path: Path) -> None:
    pools = 'pools:\n  - {name: advisors, numbers: ["100000000000001"]}\n'
    governance, _ = read(tmp_path, TEMPLATE + NUMBERS + "    profile: cloud-api\n" + pools)
    assert governance.profile_of(governance.numbers[0]).per_second == 80
    assert governance.home_of("100000000000001") == "advisors"


def test_figures_that_are_left_out_are_the_templates(tmp_path: Path) -> None:
    governance, _ = read(tmp_path, "governance: {dispatch: {max_per_minute: 12}}\n" + NUMBERS)
    profile = governance.profile_of(governance.numbers[0])
    assert (profile.per_minute, profile.base_delay_ms, profile.max_jitter_ms) == (12, 2000, 1500)


@pytest.mark.req("CMP-3", "RTW-2", "CMP-17")
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("timezone_enforcement: true", "timezone_enforcement: false",
         "governance.yaml:6: governance.dispatch.timezone_enforcement: must be true"),
        ("max_per_minute: 20", "max_per_minute: 0",
         "governance.yaml:5: governance.dispatch.max_per_minute: must be 1 or more"),
        ("max_per_minute: 20", "burst: 20", "governance.yaml:5: governance.dispatch.burst: there is no such setting"),
        ("hard_block: true", "hard_block: false", "governance.yaml:9: governance.compliance.hard_block: must be true"),
        ('["stop", "cancel", "optout", "parar", "sair"]', "[]",
         "governance.yaml:8: governance.compliance.opt_out_keywords: opt-out words cannot be switched off"),
        ('opt_out_keywords: ["stop", "cancel", "optout", "parar", "sair"]', "consent_mode: none",
         "governance.yaml:8: governance.compliance.consent_mode: must be explicit or opt_out"),
        ("window_hours: 24", "window_hours: 48", "governance.yaml:12: governance.routing.window_hours: must be 24"),
        ("fallback_to_template: true", "fallback_to_template: false",
         "governance.yaml:13: governance.routing.fallback_to_template: must be true"),
        ("template_error_code: 131047", "template_error_code: 131048",
         "governance.yaml:14: governance.routing.template_error_code: must be 131047"),
        ('on_limited: "pause_proactive"', 'on_limited: "ignore"',
         "governance.yaml:18: governance.telemetry.circuit_breaker.on_limited: must be pause_proactive"),
        ('retry_policy: "none"', 'retry_policy: "exponential"',
         "governance.yaml:20: governance.telemetry.circuit_breaker.retry_policy: must be none"),
        ('isolation_mode: "strict"', 'isolation_mode: "shared"',
         "governance.yaml:22: governance.sessions.isolation_mode: must be strict"),
        ('ip_binding: "dedicated"', 'ip_binding: "rotating"',
         "governance.yaml:23: governance.sessions.ip_binding: must be dedicated or shared"),
        ("    local_address: 192.0.2.7\n", "", "governance.yaml:26: numbers[0]: needs its local_address or proxy"),
        ('vault_path: "./vault"', "vault: x", "governance.yaml:24: governance.sessions.vault: there is no such"),
        ("  sessions:", "  extras:", "governance.yaml:21: governance.extras: there is no such setting"),
        ("numbers:\n", "senders: []\nnumbers:\n", "governance.yaml:25: senders: there is no such setting beside"),
    ],
)  # fmt: skip
def test_what_is_unsafe_is_refused_at_its_own_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = TEMPLATE + NUMBERS
    assert old in text
    found = problems(tmp_path, text.replace(old, new, 1))
    assert any(line.startswith(expected) for line in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("governance: strict\n", "governance.yaml:1: governance: must hold dispatch, compliance"),
        ("governance: {dispatch: fast}\n", "governance.yaml:1: governance.dispatch: must hold settings"),
    ],
)
def test_parts_that_hold_no_settings_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in problems(tmp_path, text + NUMBERS))
