"""Meta's bodies: the send request as we build it, the answers as we read them.

Requests are built strictly; answers are read tolerantly: unknown keys are kept, optional ones may be missing,
`error_data` may be an object or a string (management calls). Field names are Meta's, verbatim.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from harkara.contracts.intents import Button, Content, Media, Template

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object. Any: the values are Meta's nested shapes, written out by the functions below."""


def build_message(to: str | None, content: Content, opaque: str, *, user_id: str | None = None) -> JsonObject:
    """The body of `POST /{phone_number_id}/messages`. Raises ValueError where neither name of the recipient is given.

    `to` is E.164 with the plus sign (without it Meta puts the business number's own country code in front); without it
    the business-scoped user id is written to, as `recipient`. Meta takes `to` where both are there (business-scoped
    user ids), so only one of them is sent. `opaque` comes back in every status (see `opaque.py`).
    """
    if to is None and user_id is None:
        raise ValueError("the message has neither a phone number nor a user id to go to")
    sent: JsonObject = {"messaging_product": "whatsapp", "recipient_type": "individual"}
    if to is not None:
        sent["to"] = to
    else:
        sent["recipient"] = user_id
    sent["type"] = content.type
    sent[content.type] = _typed_object(content)
    sent["biz_opaque_callback_data"] = opaque
    return sent


def _typed_object(content: Content) -> JsonObject:
    if content.type == "template":
        return _template(content)
    if content.type == "text":
        return {"body": content.body, "preview_url": content.preview_url}
    return _media(content)


def _media(media: Media) -> JsonObject:
    fields = {"id": media.id, "link": media.link, "caption": media.caption, "filename": media.filename}
    return {key: value for key, value in fields.items() if value is not None}


def _template(template: Template) -> JsonObject:
    components: list[JsonObject] = []
    if template.header is not None:
        components.append({"type": "header", "parameters": [_header_parameter(template.header)]})
    body = _body_parameters(template)
    if body:
        components.append({"type": "body", "parameters": body})
    for button in template.buttons:
        components.append(_button(button))
    sent: JsonObject = {"name": template.name, "language": {"code": template.language}}
    if components:
        sent["components"] = components
    return sent


def _header_parameter(header: str | Media) -> JsonObject:
    if isinstance(header, str):
        return {"type": "text", "text": header}
    sent = _media(header)
    sent.pop("caption", None)  # a template's header takes no caption
    return {"type": header.type, header.type: sent}


def _body_parameters(template: Template) -> list[JsonObject]:
    """Named templates need `parameter_name` on each value, positional ones take the values in order."""
    if template.named:
        return [{"type": "text", "parameter_name": name, "text": text} for name, text in template.named.items()]
    return [{"type": "text", "text": text} for text in template.body]


def _button(button: Button) -> JsonObject:
    kinds = {"url": "text", "quick_reply": "payload", "copy_code": "coupon_code"}
    kind = kinds[button.sub_type]
    return {
        "type": "button",
        "sub_type": button.sub_type,
        "index": str(button.index),
        "parameters": [{"type": kind, kind: button.value}],
    }


class Answer(BaseModel):
    """A part of an answer of Meta: unknown keys are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)


class AnsweredContact(Answer):
    """`wa_id` may differ from `input`, and is missing where a business-scoped user id was written to."""

    input: str | None = None
    wa_id: str | None = None
    user_id: str | None = None


class AnsweredMessage(Answer):
    """`id` is the wamid. `message_status` comes with templates only, and not always."""

    id: str
    message_status: str | None = None


class SendAnswer(Answer):
    """The 200 of a send: accepted, not delivered."""

    messaging_product: str | None = None
    contacts: tuple[AnsweredContact, ...] = ()
    messages: tuple[AnsweredMessage, ...] = Field(min_length=1)


class ErrorObject(Answer):
    """`error` of a refused call."""

    message: str = ""
    type: str | None = None
    code: int
    error_subcode: int | None = None
    error_data: JsonObject | str | None = None
    error_user_title: str | None = None
    error_user_msg: str | None = None
    is_transient: bool | None = None
    fbtrace_id: str | None = None

    @property
    def details(self) -> str:
        """`error_data.details`, or `error_data` itself where it is a string; may name values of the request."""
        if isinstance(self.error_data, dict):
            return str(self.error_data.get("details", ""))
        return self.error_data or ""


class ErrorBody(Answer):
    """The body of a refused call."""

    error: ErrorObject


class HealthError(Answer):
    """One reason why an entity is limited or blocked."""

    error_code: int | None = None
    error_description: str = ""
    possible_solution: str = ""


class HealthEntity(Answer):
    """One of the nodes that a send depends on. Unknown words in `can_send_message` are kept: treat them as unknown."""

    entity_type: str
    id: str
    can_send_message: str
    additional_info: tuple[str, ...] = ()
    errors: tuple[HealthError, ...] = ()


class HealthStatus(Answer):
    """`health_status`. Decide on each entity's `can_send_message`: the overall value also counts calls (Meta)."""

    can_send_message: str
    entities: tuple[HealthEntity, ...] = ()

    def worst_for_messages(self) -> Literal["AVAILABLE", "LIMITED", "BLOCKED", "UNKNOWN"]:
        """The worst `can_send_message` of all entities; UNKNOWN where there is none or a word is not Meta's three."""
        words = {entity.can_send_message for entity in self.entities} or {self.can_send_message}
        if "BLOCKED" in words:
            return "BLOCKED"
        if not words <= {"AVAILABLE", "LIMITED"}:
            return "UNKNOWN"
        return "LIMITED" if "LIMITED" in words else "AVAILABLE"


class Throughput(Answer):
    """STANDARD (80 messages/s), HIGH (1,000) or NOT_APPLICABLE."""

    level: str | None = None


class PhoneNumber(Answer):
    """The fields of a phone number node; which ones come depends on `fields`."""

    id: str
    display_phone_number: str | None = None
    verified_name: str | None = None
    quality_rating: str | None = None
    status: str | None = None
    name_status: str | None = None
    code_verification_status: str | None = None
    throughput: Throughput | None = None
    platform_type: str | None = None
    account_mode: str | None = None
    whatsapp_business_manager_messaging_limit: str | None = None
