"""Where webhooks go: the app's callback and its fields, the overrides of accounts and numbers (Meta, overrides)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import httpx

MAX_CALLBACK = 200
"""Characters of `override_callback_uri` (Meta)."""
HANDSHAKE_SECONDS = 5.0
FIELDS = (
    "account_alerts", "account_review_update", "account_update", "business_capability_update",
    "message_template_components_update", "message_template_quality_update", "message_template_status_update",
    "messages", "phone_number_name_update", "phone_number_quality_update", "security", "template_category_update",
    "user_preferences",
)  # fmt: skip


@dataclass(slots=True)
class Routes:
    """`fields` None: every field. `unsubscribed`: accounts that the app left. Overrides hold for `messages` alone."""

    app_url: str | None = None
    fields: frozenset[str] | None = None
    unsubscribed: set[str] = field(default_factory=set)
    accounts: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)

    @property
    def nowhere(self) -> bool:
        """Whether no webhook can go anywhere."""
        return self.app_url is None and not self.accounts and not self.numbers

    def url_for(self, waba_id: str, phone_number_id: str | None, changed: str) -> str | None:
        """The callback of a change: number before account before app."""
        if waba_id in self.unsubscribed or (self.fields is not None and changed not in self.fields):
            return None
        if changed != "messages":
            return self.app_url
        found = self.numbers.get(phone_number_id) if phone_number_id is not None else None
        return found or self.accounts.get(waba_id) or self.app_url


async def answers_challenge(url: str, verify_token: str) -> bool:
    """Meta's handshake: GET with hub.challenge, which must come back as the body with 200."""
    challenge = str(secrets.randbelow(10**10))
    query = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": verify_token}
    try:
        async with httpx.AsyncClient(timeout=HANDSHAKE_SECONDS, trust_env=False) as http:
            answer = await http.get(url, params=query)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return answer.status_code == 200 and answer.text.strip() == challenge
