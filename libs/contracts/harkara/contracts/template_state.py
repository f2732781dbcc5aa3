"""What is known of each message template.

A template is one name in one language of one WhatsApp Business account: the same name in two languages is two
templates, each with its own status (Meta).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import StringConstraints

from harkara.contracts.event import Event, Instant, Reason, Value
from harkara.contracts.numbers import Quality

TemplateStatus = Literal[
    "APPROVED", "PENDING", "REJECTED", "PAUSED", "DISABLED", "IN_APPEAL", "PENDING_DELETION", "DELETED",
    "LIMIT_EXCEEDED", "ARCHIVED", "LOCKED", "UNKNOWN",
]  # fmt: skip
"""Meta's words. FLAGGED and REINSTATED templates are APPROVED; UNKNOWN is a word that Meta did not have when this was
written, or one that does not say whether the template may be sent."""
TemplateCategory = Literal["MARKETING", "UTILITY", "AUTHENTICATION"]
HeaderFormat = Literal["TEXT", "IMAGE", "VIDEO", "DOCUMENT", "LOCATION"]
LONGEST_WORDING = 1024  # characters of a body (Meta, templates); what is longer is cut off there
BodyText = Annotated[str, StringConstraints(max_length=LONGEST_WORDING)]
"""The body of a template with its variables, as {{1}} or {{name}}: a business's text, nobody's data."""


def template_key(waba_id: str, name: str, language: str) -> str:
    """The key of everything about a template; its partition is that of `waba_id`."""
    return f"{waba_id}/{name}/{language}"


class ButtonParameter(Value):
    """A button that may take a value; `index` from 0. `required`: a send without one is refused (131008)."""

    index: int
    sub_type: str
    required: bool = False


class TemplateParameters(Value):
    """Which values a send must bring, component by component. Variables are "1", "2" ... or names (`named`).

    `other`: components that take values which an intent cannot carry (a carousel's cards, a catalogue's products).
    """

    named: bool = False
    header: HeaderFormat | None = None
    header_values: tuple[str, ...] = ()
    body_values: tuple[str, ...] = ()
    buttons: tuple[ButtonParameter, ...] = ()
    button_count: int = 0
    other: tuple[str, ...] = ()


class TemplateState(Event):
    """What is known of a template. `version` only grows: a reader keeps the highest.

    `parameters` and `content_hash` are None until the account's list was read. `paused_until` None of a PAUSED one:
    no time ends it. `category_before`: the category that it had before the last change; `correct_category`: the one
    that Meta announced, due `effective_at`. A template that is gone stays, DELETED, with its reason. `wording`: its
    body as it was listed last, by which texts that repeat it are known (CMP-11); None in records of before it was kept.
    """

    ce_type: ClassVar[str] = "harkara.template-state.v1"
    waba_id: str
    name: str
    language: str
    template_id: str | None = None
    version: int
    status: TemplateStatus = "UNKNOWN"
    status_at: Instant | None = None
    paused_until: Instant | None = None
    category: TemplateCategory | None = None
    category_before: TemplateCategory | None = None
    category_at: Instant | None = None
    correct_category: TemplateCategory | None = None
    effective_at: Instant | None = None
    quality: Quality = "UNKNOWN"
    parameters: TemplateParameters | None = None
    content_hash: str | None = None
    wording: BodyText | None = None
    reason: Reason | None = None
    observed_at: Instant
    updated_at: Instant

    @property
    def key(self) -> str:
        """The record's key."""
        return template_key(self.waba_id, self.name, self.language)
