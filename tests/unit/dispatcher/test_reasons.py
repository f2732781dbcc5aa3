"""Whatever a lane holds or ends a message for: a sentence for people, and the rule that it comes from (CMP-8)."""

from __future__ import annotations

import pytest

from harkara.dispatcher.projection import _RULES, _SENTENCES

UNSETTLED = {
    "owner_lost", "no_echo", "timeout", "connection", "answer", "http_5xx", "code", "seen_in_status", "duplicate",
    "resend_granted", "redriven", "not_reachable", "endpoint_failing", "typing", "dry_run", "idempotency_conflict",
    "fallback_content", "fallback_not_watched",
}  # fmt: skip
"""What happened, where no rule of the policy spoke."""


@pytest.mark.req("CMP-8")
@pytest.mark.parametrize("reason", sorted(_SENTENCES.keys() - UNSETTLED))
def test_what_a_rule_keeps_back_names_it(reason: str) -> None:
    assert reason in _RULES and _SENTENCES[reason].endswith(".")


def test_every_rule_has_its_sentence() -> None:
    assert _RULES.keys() <= _SENTENCES.keys()
