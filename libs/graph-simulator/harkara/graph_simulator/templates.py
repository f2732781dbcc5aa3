"""Templates of every account: created, reviewed, edited, paused, re-categorised, deleted; each change tells a webhook.

The rules are Meta's (templates: management, review, pausing, quality, categorization). Time is an argument; what comes
later by itself is put into the agenda. `scale` shortens Meta's hours and days (see Scenario.time_scale).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from harkara.graph_simulator import notices
from harkara.graph_simulator.agenda import Agenda
from harkara.graph_simulator.bodies import JsonObject
from harkara.graph_simulator.limits import HourlyCalls
from harkara.graph_simulator.refusals import Refusal, template_refusal, unknown_object
from harkara.graph_simulator.template_review import (
    category_found,
    check_submission,
    check_ttl,
    specification,
    verdict,
)
from harkara.graph_simulator.world import Category, Quality, TemplateSpec, WabaSpec, World

CREATED_PER_HOUR = 100
MOST_VERIFIED, MOST_UNVERIFIED = 6_000, 250
DAY_SECONDS = 86_400.0
DELETION_SECONDS = 30 * DAY_SECONDS
"""How long the name of a deleted template cannot be used again, and messages under way may still arrive (Meta)."""
EDITS_A_DAY, EDITS_IN_30_DAYS = 1, 10
MOST_IDS = 100
"""Templates in one deletion by `hsm_ids` (Meta)."""
EDITABLE = ("APPROVED", "REJECTED", "PAUSED")

Key: TypeAlias = tuple[str, str]
Tell: TypeAlias = Callable[[str, str, JsonObject], None]


class TemplateBook:
    """Templates by account, name and language. `tell(waba_id, field, value)` sends a webhook."""

    def __init__(self, world: World, agenda: Agenda, tell: Tell) -> None:
        self.by_account: dict[str, dict[Key, TemplateSpec]] = {
            waba.id: {(template.name, template.language): template for template in waba.templates}
            for waba in world.wabas
        }
        self._accounts = {waba.id: waba for waba in world.wabas}
        self._by_id = {template.id: (waba, template) for waba in world.wabas for template in waba.templates}
        self._created: dict[str, HourlyCalls] = {waba.id: HourlyCalls() for waba in world.wabas}
        self._agenda = agenda
        self._tell = tell
        self._next_id = 1_357_924_680_000_000
        self.review_seconds = 2.0
        self.scale = 1.0

    def by_id(self, node: str) -> tuple[WabaSpec | None, TemplateSpec | None]:
        """The template of that id with its account."""
        return self._by_id.get(node, (None, None))

    def of(self, waba_id: str) -> Iterator[TemplateSpec]:
        """The account's templates, oldest first."""
        yield from self.by_account[waba_id].values()

    # ---- creating and reviewing ---------------------------------------------------------------------------------

    def create(self, waba: WabaSpec, body: object, now: float) -> JsonObject | Refusal:
        """`POST /{waba}/message_templates`: the answer's body."""
        refusal = check_submission(body)
        if refusal is not None or not isinstance(body, dict):
            return refusal or Refusal(100)
        book, key = self.by_account[waba.id], (body["name"], body["language"])
        there = book.get(key)
        if there is not None:
            return template_refusal(2388023 if there.status == "PENDING_DELETION" else 2388024)
        if len(book) >= (MOST_VERIFIED if waba.verified else MOST_UNVERIFIED):
            return template_refusal(2388019)
        if not self._created[waba.id].take(now, CREATED_PER_HOUR):
            return Refusal(80007)
        spec = specification(body, category_found(body))
        self._next_id += 1
        spec.id = str(self._next_id)
        book[key] = spec
        self._by_id[spec.id] = (waba, spec)
        if spec.name.endswith("_instant"):
            spec.status = "APPROVED"
        else:
            self._review_later(waba, spec, now)
        return {"id": spec.id, "status": spec.status, "category": spec.category}

    def _review_later(self, waba: WabaSpec, spec: TemplateSpec, now: float) -> None:
        components = spec.components
        edited = bool(spec.edits)

        def reviewed(_: float) -> None:
            if spec.status == "PENDING" and spec.components is components:
                self._review(waba, spec, edited=edited)

        self._agenda.add(now + self.review_seconds, reviewed)

    def _review(self, waba: WabaSpec, spec: TemplateSpec, *, edited: bool) -> None:
        found = verdict(spec, self.of(waba.id))
        if found.status == "PENDING":
            return
        spec.rejected_reason = found.reason
        if found.status == "REJECTED":
            spec.status = "REJECTED"
            self._status(waba, notices.template_rejected(spec, found.why, found.advice))
            return
        spec.status = "APPROVED"
        self._status(waba, notices.template_status(spec, "APPROVED"))
        if edited:
            self._tell(waba.id, "message_template_components_update", notices.components_update(spec))

    def _status(self, waba: WabaSpec, value: JsonObject) -> None:
        self._tell(waba.id, notices.STATUS_FIELD, value)

    # ---- editing and deleting -----------------------------------------------------------------------------------

    def edit(self, waba: WabaSpec, spec: TemplateSpec, body: object, now: float) -> Refusal | None:
        """`POST /{template_id}`: category, components and TTL; what is changed goes to review again."""
        allowed = {"category", "components", "message_send_ttl_seconds", "name", "language", "parameter_format"}
        if not isinstance(body, dict) or not body or set(body) - allowed:
            return Refusal(100, message="(#100) Invalid parameter")
        refusal = self._may_edit(spec, body, now)
        if refusal is not None:
            return refusal
        category = body.get("category", spec.category)
        whole = {"name": spec.name, "language": spec.language, "category": category} | body
        whole.setdefault("parameter_format", "NAMED" if spec.named else "POSITIONAL")
        refusal = check_ttl(whole)
        if refusal is None and "components" in body:
            refusal = check_submission(whole)
        if refusal is None and category not in ("MARKETING", "UTILITY", "AUTHENTICATION"):
            refusal = Refusal(100, message="(#100) Param category must be one of {MARKETING, UTILITY, AUTHENTICATION}.")
        if refusal is None:
            self._apply_edit(waba, spec, whole, now)
        return refusal

    def _may_edit(self, spec: TemplateSpec, body: JsonObject, now: float) -> Refusal | None:
        if spec.status not in EDITABLE or body.get("name", spec.name) != spec.name:
            return template_refusal(2388039)
        if spec.status != "APPROVED":
            return None
        day, month = DAY_SECONDS / self.scale, 30 * DAY_SECONDS / self.scale
        if body.get("category", spec.category) != spec.category:
            return template_refusal(2388039, "The category of an approved template cannot be changed.")
        lately = [at for at in spec.edits if at > now - month]
        if len(lately) >= EDITS_IN_30_DAYS or sum(at > now - day for at in lately) >= EDITS_A_DAY:
            return template_refusal(2388039, "An approved template can be edited once in 24 hours.")
        return None

    def _apply_edit(self, waba: WabaSpec, spec: TemplateSpec, whole: JsonObject, now: float) -> None:
        spec.ttl_seconds = whole.get("message_send_ttl_seconds", spec.ttl_seconds)
        if "components" not in whole:
            spec.category = whole["category"]
            return
        if spec.status == "APPROVED":
            spec.edits = (*spec.edits[-EDITS_IN_30_DAYS:], now)
        new = specification(whole, category_found(whole))
        for name in ("category", "body", "header_format", "header", "footer", "buttons", "components"):
            setattr(spec, name, getattr(new, name))
        spec.status, spec.paused_in_pacing = "PENDING", False
        self._status(waba, notices.template_status(spec, "PENDING"))
        self._review_later(waba, spec, now)

    def delete(self, waba: WabaSpec, name: str | None, ids: list[str], now: float) -> Refusal | None:
        """By name (every language), by one id with its name, or by at most 100 ids."""
        if len(ids) > MOST_IDS:
            return Refusal(100, message="(#100) Param hsm_ids takes at most 100 ids.")
        found = [spec for spec in self.of(waba.id) if (spec.id in ids if ids else spec.name == name)]
        if not found or len(found) < len(set(ids)) or (ids and name is not None and found[0].name != name):
            return unknown_object(ids[0] if ids else str(name), "DELETE")
        if any(spec.status in ("DISABLED", "PENDING_DELETION") for spec in found):
            return template_refusal(2388039, "A disabled template cannot be deleted.")
        for spec in found:
            if spec.status in ("APPROVED", "PAUSED"):  # messages of it may be under way
                spec.status = "PENDING_DELETION"
                self._status(waba, notices.template_status(spec, "PENDING_DELETION"))
                self._agenda.add(now + DELETION_SECONDS / self.scale, partial(self._forget, waba, spec))
            else:
                self._forget(waba, spec, now)
        return None

    def _forget(self, waba: WabaSpec, spec: TemplateSpec, _: float) -> None:
        self.by_account[waba.id].pop((spec.name, spec.language), None)
        self._by_id.pop(spec.id, None)

    # ---- quality, pauses, categories ----------------------------------------------------------------------------

    def set_quality(self, waba: WabaSpec, spec: TemplateSpec, quality: Quality, now: float) -> None:
        """A new score; RED pauses an approved template for 3 h, then 6 h, then disables it."""
        before = spec.quality
        if quality == before:
            return
        spec.quality, spec.quality_at = quality, int(now)
        self._tell(waba.id, "message_template_quality_update", notices.template_quality(spec, before))
        if quality == "RED" and spec.status == "APPROVED":
            self.pause(waba, spec, now)

    def pause(self, waba: WabaSpec, spec: TemplateSpec, now: float, *, in_pacing: bool = False) -> None:
        """For 3 h, then 6 h, then for good; a pause in pacing has no end of its own (Meta)."""
        if in_pacing:
            spec.status, spec.paused_in_pacing = "PAUSED", True
            self._status(waba, notices.template_paused(spec))
            return
        spec.pauses += 1
        if spec.pauses > len(notices.PAUSE_HOURS):
            spec.status = "DISABLED"
            self._status(waba, notices.template_disabled(spec, now))
            return
        spec.status = "PAUSED"
        self._status(waba, notices.template_paused(spec))
        number = spec.pauses

        def ended(at: float) -> None:
            if spec.status == "PAUSED" and spec.pauses == number and not spec.paused_in_pacing:
                self._end_pause(waba, spec, at)

        self._agenda.add(now + notices.PAUSE_HOURS[number - 1] * 3600 / self.scale, ended)

    def _end_pause(self, waba: WabaSpec, spec: TemplateSpec, now: float) -> None:
        before, spec.quality, spec.quality_at = spec.quality, "UNKNOWN", int(now)
        spec.status, spec.paused_in_pacing = "APPROVED", False
        self._status(waba, notices.template_unpaused(spec))
        if before != "UNKNOWN":
            self._tell(waba.id, "message_template_quality_update", notices.template_quality(spec, before))

    def unpause(self, waba: WabaSpec, spec: TemplateSpec, now: float) -> JsonObject:
        """`POST /{template_id}/unpause`: only a template paused in pacing is unpaused by hand (Meta)."""
        if spec.status != "PAUSED":
            return {"success": False, "reason": "The template is not paused."}
        if not spec.paused_in_pacing:
            return {"success": False, "reason": "The pause ends by itself."}
        self._end_pause(waba, spec, now)
        return {"success": True}

    def set_category(self, waba: WabaSpec, spec: TemplateSpec, category: Category, now: float, *, notice: bool) -> None:
        """Meta moves a template to another category: after a notice of 24 h, or at once where it warned before."""
        if not notice:
            self._change_category(waba, spec, category)
            return
        at = now + DAY_SECONDS / self.scale
        spec.correct_category = category
        self._tell(waba.id, "template_category_update", notices.category_notice(spec, at))
        self._agenda.add(at, lambda _: self._change_category(waba, spec, category))

    def _change_category(self, waba: WabaSpec, spec: TemplateSpec, category: Category) -> None:
        if spec.category == category:
            return
        spec.previous_category, spec.category, spec.correct_category = spec.category, category, None
        self._tell(waba.id, "template_category_update", notices.category_changed(spec))

    def set_status(self, waba: WabaSpec, spec: TemplateSpec, status: str, reason: str, now: float) -> None:
        """Meta decides by hand (the control endpoint): any status, told by its webhook."""
        if status == "PAUSED":
            spec.pauses = min(spec.pauses, len(notices.PAUSE_HOURS) - 1)
            self.pause(waba, spec, now)
        elif status == "APPROVED" and spec.status == "PAUSED":
            self._end_pause(waba, spec, now)
        elif status == "DISABLED":
            spec.status = "DISABLED"
            self._status(waba, notices.template_disabled(spec, now))
        else:
            spec.status, spec.rejected_reason = status, reason  # type: ignore[assignment]  # checked by the endpoint
            self._status(waba, notices.template_status(spec, status, reason))
