"""What Meta tells us about message templates, as it happens: in webhooks, in an account's list, by refusing a call."""

from __future__ import annotations

from typing import ClassVar, Literal

from harkara.contracts.event import Event, Instant, Reason, Value
from harkara.contracts.numbers import Quality
from harkara.contracts.template_state import BodyText, TemplateParameters, template_key

__all__ = ["TemplateButton", "TemplateEvent", "TemplateText", "template_key"]


class TemplateButton(Value):
    """A button as a components notice shows it; words are Meta's."""

    type: str
    text: str = ""
    url: str | None = None
    phone_number: str | None = None


class TemplateText(Value):
    """The template's content as a components notice shows it. `body` with its variables, as {{1}} or {{name}}."""

    body: str | None = None
    title: str | None = None
    footer: str | None = None
    buttons: tuple[TemplateButton, ...] = ()


class TemplateEvent(Event):
    """One notice about one template in one language (TPL-3). Words are Meta's; what a notice does not say is None.

    kind status: `status` is the template's now (APPROVED, PAUSED, DISABLED, ...). Meta's FLAGGED is no status but a
    warning, REINSTATED is APPROVED again, UNARCHIVED and an unpause come as APPROVED: `event` keeps the word itself and
    `title` what it says beside it (FIRST_PAUSE, SECOND_PAUSE, UNPAUSE, ...). `until` is the end of a pause where its
    title tells it: 3 hours for the first, 6 for the second (Meta, template pausing).
    kind quality: `quality`, and `previous_quality`.
    kind category: `category` is the one now. A notice of a change to come has `correct_category`, due `effective_at`;
    one of a change made has `previous_category`.
    kind components: `text` is the content now.
    kind listed (source sync): the account's list has it so, with the values that a send must bring (`parameters`) and
    its body (`wording`).
    kind missing (source sync): the account's whole list does not have it.
    `language` has an underscore (en_US) whatever way Meta wrote it. `at` is the entry's time: an older notice must not
    overwrite what a newer one said.
    """

    ce_type: ClassVar[str] = "harkara.template-event.v1"
    waba_id: str
    template_id: str | None = None
    name: str
    language: str
    kind: Literal["status", "quality", "category", "components", "listed", "missing"]
    source: Literal["webhook", "sync", "dispatcher"] = "webhook"
    at: Instant
    event: str | None = None
    status: str | None = None
    title: str | None = None
    until: Instant | None = None
    disable_at: Instant | None = None
    quality: Quality | None = None
    previous_quality: Quality | None = None
    category: str | None = None
    previous_category: str | None = None
    correct_category: str | None = None
    effective_at: Instant | None = None
    text: TemplateText | None = None
    parameters: TemplateParameters | None = None
    content_hash: str | None = None
    wording: BodyText | None = None
    reason: Reason | None = None

    @property
    def key(self) -> str:
        """The record's key. Its partition is that of `waba_id`: who reads an account's list has all its templates."""
        return template_key(self.waba_id, self.name, self.language)
