"""A policy and an intent that pass, for tests to change one thing of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from harkara.contracts.intents import ClearedIntent, SendIntent
from harkara.policy.governance import Governance

NOW = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
PERSON = "0123456789abcdef0123456789abcdef"
ALONE, FIRST, SECOND = "100000000000001", "100000000000002", "100000000000003"
TEXT = {"type": "text", "body": "Namaste Asha"}
TEMPLATE = {"type": "template", "name": "daily_advice", "language": "en", "body": ["Asha"]}


def number(phone_number_id: str, **more: Any) -> dict[str, Any]:
    return {
        "phone_number_id": phone_number_id,
        "display_phone_number": f"+9199999{phone_number_id[-5:]}",
        "waba_id": "200000000000001",
        "portfolio_id": "300000000000001",
        "token_env": f"TOKEN_{phone_number_id}",
    } | more


def policy(**more: Any) -> Governance:
    content: dict[str, Any] = {
        "numbers": [number(ALONE), number(FIRST), number(SECOND)],
        "pools": [{"name": "advisors", "numbers": [FIRST, SECOND]}],
        "compliance": {"consent_mode": "opt_out"},
        "routing": {"quiet_hours": {"utility": "none", "marketing": "none"}},
    }
    return Governance.model_validate(content | more)


def intent(**more: Any) -> SendIntent:
    fields: dict[str, Any] = {
        "message_id": "m-00000001",
        "sender": "advisors",
        "to": "+919999912345",
        "category": "utility",
        "content": TEMPLATE,
    }
    return SendIntent.model_validate(fields | more)


def cleared(home: str = "advisors", person: str = PERSON, **more: Any) -> ClearedIntent:
    wanted = intent(**({"sender": home} | more))
    return ClearedIntent(
        intent=wanted,
        intent_hash=wanted.hash(),
        home=home,
        person_key=person,
        received_at=NOW,
        expires_at=NOW + timedelta(hours=24),
        policy_version="test",
    )
