"""What Meta tells us, raw and normalised."""

from __future__ import annotations

from typing import Any, ClassVar

from harkara.contracts.event import Event, Home, Instant, Phone


class WebhookChange(Event):
    """One `change` of a verified webhook, as it came. Carries personal data; kept 8 days, so that a parser's bug is
    mended by replay."""

    ce_type: ClassVar[str] = "harkara.webhook-change.v1"
    entry_id: str
    field: str
    value: dict[str, Any]
    entry_time: int | None = None
    received_at: Instant


class InboundMessage(Event):
    """A person wrote to a number. `text` is the text body, the caption, or a button's text; None for other kinds."""

    ce_type: ClassVar[str] = "harkara.inbound-message.v1"
    wamid: str
    phone_number_id: str
    home: Home
    from_phone: Phone | None = None
    person_key: str
    kind: str
    text: str | None = None
    button_payload: str | None = None
    sent_at: Instant
    received_at: Instant


class ServiceWindow(Event):
    """The last time a person wrote to a number; the customer service window is open for 24 h from then (RTW-1)."""

    ce_type: ClassVar[str] = "harkara.service-window.v1"
    phone_number_id: str
    person_key: str
    last_inbound_at: Instant
