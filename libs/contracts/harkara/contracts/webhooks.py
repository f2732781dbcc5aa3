"""What Meta tells us, raw and normalised."""

from __future__ import annotations

from typing import Any, ClassVar

from harkara.contracts.event import Event, Home, Instant, Phone, Reason, Value


class WebhookChange(Event):
    """One `change` of a verified webhook, as it came. Carries personal data; kept 8 days, so that a parser's bug is
    mended by replay."""

    ce_type: ClassVar[str] = "harkara.webhook-change.v1"
    entry_id: str
    field: str
    value: dict[str, Any]
    entry_time: int | None = None
    received_at: Instant


class InboundMedia(Value):
    """A file that a person sent. Its id is downloadable for 7 days (Meta, changelog of 9 Oct 2025)."""

    id: str
    mime_type: str | None = None
    sha256: str | None = None
    filename: str | None = None
    voice: bool = False
    animated: bool = False


class InboundLocation(Value):
    """A place, in degrees."""

    latitude: float
    longitude: float
    name: str | None = None
    address: str | None = None


class InboundContact(Value):
    """A contact that a person shared."""

    name: str | None = None
    phones: tuple[str, ...] = ()


class OrderItem(Value):
    """A line of an order; the price is of one, in the currency's units."""

    product: str
    quantity: float | None = None
    price: float | None = None
    currency: str | None = None


class InboundOrder(Value):
    """What a person ordered from the number's catalog."""

    catalog_id: str | None = None
    items: tuple[OrderItem, ...] = ()


class ProductAsked(Value):
    """The product of the number's catalog that a person asks about."""

    catalog_id: str | None = None
    product: str


class Referral(Value):
    """The advertisement or post by which the conversation began."""

    source_type: str | None = None
    source_id: str | None = None
    source_url: str | None = None
    headline: str | None = None
    body: str | None = None
    media_type: str | None = None
    ctwa_clid: str | None = None


class InboundMessage(Event):
    """A person wrote to a number. `text` is the text body, the caption, or a button's text; None for other kinds.

    `kind` is Meta's type. `context_wamid` is the message that is answered, tapped on or reacted to, `original_wamid`
    the one that is edited or revoked. `emoji` None with kind reaction: the reaction was taken back. `form` is the reply
    of a flow or to a request to be called, JSON as a text. `subtype` says of kind system and unsupported what it is.
    `errors`: what Meta could not hand on. With `group_id` it was written to a group: the person's own window stays as
    it was.
    """

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
    user_id: str | None = None
    context_wamid: str | None = None
    original_wamid: str | None = None
    forwarded: bool = False
    subtype: str | None = None
    emoji: str | None = None
    form: str | None = None
    media: InboundMedia | None = None
    location: InboundLocation | None = None
    contacts: tuple[InboundContact, ...] = ()
    order: InboundOrder | None = None
    product: ProductAsked | None = None
    group_id: str | None = None
    referral: Referral | None = None
    errors: tuple[Reason, ...] = ()


class ServiceWindow(Event):
    """The last time a person wrote to a number; the customer service window is open for 24 h from then (RTW-1)."""

    ce_type: ClassVar[str] = "harkara.service-window.v1"
    phone_number_id: str
    person_key: str
    last_inbound_at: Instant
