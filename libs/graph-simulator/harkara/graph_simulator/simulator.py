"""The simulated platform: judges a send, remembers what it accepted, and schedules what its recipients do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from harkara.graph_simulator.bodies import contact, error_object, new_wamid, pricing, user_id
from harkara.graph_simulator.checks import JsonObject, check_content, check_envelope, invalid, missing
from harkara.graph_simulator.ledger import Entry, Ledger
from harkara.graph_simulator.limits import HourlyCalls, PairLimits, SlidingSecond
from harkara.graph_simulator.media import MediaStore
from harkara.graph_simulator.metrics import ACCEPTED, REFUSED
from harkara.graph_simulator.outbox import Outbox, Update
from harkara.graph_simulator.refusals import Refusal, unknown_object
from harkara.graph_simulator.scenario import Fate, FateChooser, Fault, Scenario, Step
from harkara.graph_simulator.template_checks import check_template
from harkara.graph_simulator.world import NumberSpec, TemplateSpec, WabaSpec, World

WINDOW_SECONDS = 86_400.0
MAX_WINDOWS = 1_000_000
"""Open service windows remembered; beyond it the closed ones are dropped."""
RESUME_SECONDS = 3_600.0
"""Statuses of messages accepted within the last hour are sent again after a restart: Meta would not lose them."""

_NON_DIGITS = re.compile(r"\D")


@dataclass(frozen=True, slots=True)
class Verdict:
    """An accepted send: the 200 body and how the answer is to be spoiled."""

    body: bytes
    fate: Fate


@dataclass(slots=True)
class Line:
    """A number with its account and what it has used of its limits."""

    number: NumberSpec
    waba: WabaSpec
    second: SlidingSecond


class Simulator:
    """All state but HTTP. `clock` gives seconds since 1970. Nothing here waits."""

    def __init__(
        self,
        world: World,
        scenario: Scenario,
        ledger: Ledger,
        outbox: Outbox,
        clock: Callable[[], float],
        pending_limit: int = 500_000,
    ) -> None:
        self.world = world
        self.ledger = ledger
        self.outbox = outbox
        self.clock = clock
        self.media = MediaStore()
        self.fates = FateChooser(scenario)
        self.lines = {n.phone_number_id: Line(n, w, SlidingSecond()) for w in world.wabas for n in w.numbers}
        self.wabas = {waba.id: waba for waba in world.wabas}
        self.templates: dict[str, dict[tuple[str, str], TemplateSpec]] = {
            waba.id: {(template.name, template.language): template for template in waba.templates}
            for waba in world.wabas
        }
        self._tokens = {token for w in world.wabas for token in (w.token, *(n.token for n in w.numbers)) if token}
        self._pairs = PairLimits()
        self._management: dict[str, HourlyCalls] = {waba.id: HourlyCalls() for waba in world.wabas}
        self._windows: dict[tuple[str, str], float] = {}
        self._inbound_ids: dict[str, None] = {}
        self._pending_limit = pending_limit

    @property
    def scenario(self) -> Scenario:
        """The scenario in force."""
        return self.fates.scenario

    def set_scenario(self, scenario: Scenario) -> None:
        """Puts another scenario in force; a new seed starts a new sequence of chances."""
        self.fates = FateChooser(scenario)

    # ---- who may call -------------------------------------------------------------------------------------------

    def authorise(self, authorization: str | None, waba: WabaSpec | None, number: NumberSpec | None) -> Refusal | None:
        """Whether the bearer token may act on this number or account; Meta's 190, 100/33-like 10, and 368."""
        token = authorization[7:] if authorization is not None and authorization.startswith("Bearer ") else ""
        if not token:
            return Refusal(190, message="An access token is required to request this resource.")
        if token not in self._tokens:
            return Refusal(190, message="Invalid OAuth access token - Cannot parse access token")
        if number is not None and not number.token_valid:
            return Refusal(190, subcode=463, message="Error validating access token: Session has expired.")
        if waba is not None:
            own = {waba.token, number.token} if number is not None else {waba.token, *(n.token for n in waba.numbers)}
            if token not in own:
                return Refusal(10, message="(#10) Application does not have permission for this action")
        return None

    def count_management_call(self, waba: WabaSpec) -> Refusal | None:
        """80007 above the account's calls per hour."""
        if self._management[waba.id].take(self.clock(), self.scenario.management_calls_per_hour):
            return None
        return Refusal(80007)

    def template_by_id(self, node: str) -> tuple[WabaSpec | None, TemplateSpec | None]:
        """The template of that id with its account."""
        for waba in self.world.wabas:
            for template in waba.templates:
                if template.id == node:
                    return waba, template
        return None, None

    # ---- sending ------------------------------------------------------------------------------------------------

    def judge(self, phone_number_id: str, authorization: str | None, raw: bytes) -> Verdict | Refusal | JsonObject:
        """One POST to /messages: a Verdict for an accepted send, a Refusal, or another 200's body (mark as read)."""
        answer = self._judge(phone_number_id, authorization, raw)
        if isinstance(answer, Refusal):
            self.ledger.refused[answer.code] += 1
            REFUSED.labels(str(answer.code)).inc()
        return answer

    def _judge(self, phone_number_id: str, authorization: str | None, raw: bytes) -> Verdict | Refusal | JsonObject:
        line = self.lines.get(phone_number_id)
        if line is None:
            return self.authorise(authorization, None, None) or unknown_object(phone_number_id, "POST")
        refusal = self.authorise(authorization, line.waba, line.number) or _blocked(line)
        if refusal is not None:
            return refusal
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return Refusal(100, "The request body is not valid JSON.")
        if isinstance(body, dict) and body.get("status") == "read":
            return self._mark_read(body)
        refusal = check_envelope(body) or self._check_typed(line, body)
        if refusal is not None:
            return refusal
        return self._meet_fate(line, body)

    def _check_typed(self, line: Line, body: JsonObject) -> Refusal | None:
        kind = body.get("type", "text")
        if kind != "template":
            refusal = check_content(body)
            media = body[kind].get("id") if refusal is None else None
            return refusal or self._check_media_id(line, kind, media)
        refusal = check_template(body["template"], self.templates[line.waba.id])
        if refusal is not None:
            return refusal
        spec = self._template_of(line, body)
        if spec is not None and spec.category == "AUTHENTICATION" and body.get("to") is None:
            return Refusal(131062)
        kind, media = _header_media(body["template"])
        return self._check_media_id(line, kind, media)

    def _check_media_id(self, line: Line, kind: str, media_id: object) -> Refusal | None:
        if not self.scenario.check_media_ids or not isinstance(media_id, str):
            return None
        return None if self.media.fits(media_id, line.waba.id, kind) else Refusal(131053)

    def _template_of(self, line: Line, body: JsonObject) -> TemplateSpec | None:
        sent = body.get("template")
        return self.templates[line.waba.id].get((sent["name"], sent["language"]["code"])) if sent else None

    def _mark_read(self, body: JsonObject) -> Refusal | JsonObject:
        if body.get("messaging_product") != "whatsapp":
            return missing("messaging_product")
        return {"success": True} if str(body.get("message_id")) in self._inbound_ids else invalid("message_id")

    def _meet_fate(self, line: Line, body: JsonObject) -> Verdict | Refusal:
        recipient = self._digits(line, body)
        if recipient == line.number.digits:
            return Refusal(131021)
        free_form = body.get("type", "text") != "template"
        fate = self.fates.choose(recipient, line.number.fate)
        if self.fates.refuses(fate, recipient, free_form=free_form):
            assert fate.refuse_code is not None
            return Refusal(
                fate.refuse_code,
                subcode=fate.refuse_subcode,
                http_status=fate.refuse_status,
                retry_after_seconds=fate.retry_after_seconds,
            )
        window_closed = free_form and self._window_closed(line, recipient)
        if window_closed and self.scenario.window == "sync":
            return Refusal(131047)
        if fate.fault in (Fault.RESET_BEFORE, Fault.HTML_503_BEFORE):
            return Verdict(b"", fate)
        refusal = self._check_capacity(line, recipient)
        if refusal is not None:
            return refusal
        if window_closed and self.scenario.window == "webhook":
            fate = WINDOW_CLOSED
        return self._accept(line, body, recipient, fate)

    def _check_capacity(self, line: Line, recipient: str) -> Refusal | None:
        now = self.clock()
        if self.outbox.pending >= self._pending_limit or self.ledger.full:
            return Refusal(131016)
        if self.scenario.enforce_throughput and not line.second.take(now, line.number.throughput_per_second):
            return Refusal(130429)
        if self.scenario.enforce_pair_limit and not self._pairs.take(line.number.phone_number_id, recipient, now):
            return Refusal(131056)
        return None

    def _digits(self, line: Line, body: JsonObject) -> str:
        """The recipient as wa_id. Without `+` Meta puts the business number's own country code in front."""
        to = body.get("to")
        if to is None:
            return str(body["recipient"])
        digits = _NON_DIGITS.sub("", to)
        country = line.number.digits[:2]
        complete = to.startswith("+") or (digits.startswith(country) and len(digits) > 10)
        return digits if complete else country + digits

    def _window_closed(self, line: Line, recipient: str) -> bool:
        if self.scenario.window == "off":
            return False
        opened = self._windows.get((line.number.phone_number_id, recipient))
        return opened is None or self.clock() - opened > WINDOW_SECONDS

    def _accept(self, line: Line, body: JsonObject, recipient: str, fate: Fate) -> Verdict:
        spec = self._template_of(line, body)
        entry = Entry(
            seq=self.ledger.last_seq + 1,
            accepted_at_ms=int(self.clock() * 1000),
            phone_number_id=line.number.phone_number_id,
            to=recipient,
            wamid=new_wamid(recipient),
            opaque=body.get("biz_opaque_callback_data"),
            type=body.get("type", "text"),
            template=spec.name if spec is not None else None,
            category=spec.category.lower() if spec is not None else "service",
            fate=fate.name,
        )
        self.ledger.append(entry)
        ACCEPTED.labels(entry.phone_number_id).inc()
        self._schedule_statuses(line, entry, fate)
        return Verdict(_answer(body, entry, fate), fate)

    # ---- what comes after ---------------------------------------------------------------------------------------

    def _schedule_statuses(self, line: Line, entry: Entry, fate: Fate) -> None:
        """Every status of the fate at its time; delays count from the answer (accepted + latency)."""
        if self.outbox.url is None:
            return
        scenario = self.scenario
        answered_at = entry.accepted_at_ms / 1000 + scenario.latency_ms / 1000
        early = fate.fault is Fault.STATUS_FIRST
        steps = list(fate.steps)
        if fate.shuffled:
            self.fates.shuffle(steps)
        at = answered_at
        for step, moment in zip(steps, fate.steps, strict=True):  # shuffled: another status at the same moments
            at = answered_at if early else max(at, answered_at + self.fates.delay_seconds(self._wait_ms(moment.at)))
            update = _status_update(line, entry, fate, step, at)
            for _ in range(fate.copies):
                self.outbox.schedule(update, at)

    def _wait_ms(self, moment: str) -> float:
        scenario = self.scenario
        read_ms = scenario.delivered_ms + scenario.read_ms
        return {
            "sent": scenario.sent_ms,
            "delivered": scenario.delivered_ms,
            "read": read_ms,
            "hold": scenario.hold_ms,
            "late": scenario.late_ms,
        }[moment]

    def resume(self, fates: Mapping[str, Fate]) -> int:
        """After a restart: schedules the statuses of what was accepted within the last hour; how many messages."""
        oldest_ms = (self.clock() - RESUME_SECONDS) * 1000
        resumed = 0
        for entry in self.ledger.page(0, self.ledger.last_seq):
            line, fate = self.lines.get(entry.phone_number_id), fates.get(entry.fate)
            if entry.accepted_at_ms >= oldest_ms and line is not None and fate is not None:
                self._schedule_statuses(line, entry, fate)
                resumed += 1
        return resumed

    def receive(self, line: Line, sender: str, message: JsonObject, profile_name: str) -> str:
        """A user writes to a number: opens the window, counts into throughput, sends the webhook. Returns the wamid."""
        now = self.clock()
        wamid = new_wamid(sender, inbound=True)
        self._open_window(line.number.phone_number_id, sender, now)
        line.second.take(now, line.number.throughput_per_second)
        content = {"from": sender, "from_user_id": user_id(sender), "id": wamid, "timestamp": str(int(now)), **message}
        self._inbound_ids[wamid] = None
        if len(self._inbound_ids) > MAX_WINDOWS:
            del self._inbound_ids[next(iter(self._inbound_ids))]
        update = Update(line.waba.id, line.number, "messages", content, contact(sender, profile_name))
        self.outbox.schedule(update, now)
        return wamid

    def _open_window(self, phone_number_id: str, sender: str, now: float) -> None:
        if len(self._windows) >= MAX_WINDOWS:
            self._windows = {pair: at for pair, at in self._windows.items() if now - at < WINDOW_SECONDS}
        self._windows[phone_number_id, sender] = now


WINDOW_CLOSED = Fate("window_closed_131047", (Step("failed", "sent", 131047),))
"""A free-form message outside the window is accepted and fails by webhook (Meta's usual way)."""


def _blocked(line: Line) -> Refusal | None:
    if line.number.refuse_code is not None:
        return Refusal(line.number.refuse_code)
    if line.waba.status != "ACTIVE":
        return Refusal(368)
    if line.number.health == "BLOCKED":
        return Refusal(131031)
    return Refusal(133010) if line.number.status != "CONNECTED" else None


def _header_media(template: JsonObject) -> tuple[str, object]:
    for component in template.get("components", []):
        if component.get("type") == "header" and component.get("parameters"):
            kind = component["parameters"][0].get("type", "text")
            media = component["parameters"][0].get(kind)
            return kind, media.get("id") if isinstance(media, dict) else None
    return "text", None


def _answer(body: JsonObject, entry: Entry, fate: Fate) -> bytes:
    message: JsonObject = {"id": entry.wamid}
    if entry.template is not None:
        message["message_status"] = fate.message_status or "accepted"
    if body.get("to") is None:
        contacts = [{"input": body["recipient"], "user_id": body["recipient"]}]
    else:
        wa_id = entry.to[:-1] + "0" if fate.other_wa_id else entry.to
        contacts = [{"input": body["to"], "wa_id": wa_id}]
    return orjson.dumps({"messaging_product": "whatsapp", "contacts": contacts, "messages": [message]})


def _status_update(line: Line, entry: Entry, fate: Fate, step: Step, at: float) -> Update:
    recipient = entry.to[:-1] + "0" if fate.other_wa_id else entry.to
    content: JsonObject = {
        "id": entry.wamid,
        "status": step.status,
        "timestamp": str(int(at * 1000) if fate.milliseconds else int(at)),
    }
    if recipient.isdecimal():
        if not fate.by_user_id:
            content["recipient_id"] = recipient
        content["recipient_user_id"] = user_id(recipient)
    else:
        content["recipient_user_id"] = recipient
    if entry.opaque is not None and fate.echo:
        content["biz_opaque_callback_data"] = entry.opaque
    if step.status in ("sent", "delivered"):
        content["pricing"] = pricing(entry.category)
    if step.error_code is not None:
        content["errors"] = [error_object(step.error_code)]
        return Update(line.waba.id, line.number, "statuses", content)
    person = contact(recipient, "Simulated User") if recipient.isdecimal() else {"user_id": recipient}
    return Update(line.waba.id, line.number, "statuses", content, person)
