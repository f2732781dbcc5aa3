"""The simulated platform: judges a send, remembers what it accepted, and schedules what its recipients do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import orjson

from harkara.graph_simulator import notices
from harkara.graph_simulator.access import Access
from harkara.graph_simulator.agenda import Agenda
from harkara.graph_simulator.bodies import JsonObject, contact, digits_of, envelope, new_wamid, user_id
from harkara.graph_simulator.call_log import CallLog
from harkara.graph_simulator.capacity import Capacity
from harkara.graph_simulator.checks import check_content, check_envelope, check_mark_read, invalid
from harkara.graph_simulator.delivery import Delivery
from harkara.graph_simulator.feedback import Feedback
from harkara.graph_simulator.ledger import Entry, Ledger
from harkara.graph_simulator.limits import SlidingSecond
from harkara.graph_simulator.lines import Line, Send
from harkara.graph_simulator.media import MediaStore
from harkara.graph_simulator.metrics import ACCEPTED, REFUSED
from harkara.graph_simulator.outbox import Outbox, Update
from harkara.graph_simulator.people import CAPPED, MARKETING_SECONDS, People
from harkara.graph_simulator.refusals import Refusal, unknown_object
from harkara.graph_simulator.scenario import REFUSING, SUFFIXES, Fate, FateChooser, Scenario, Step
from harkara.graph_simulator.statuses import shown_recipient
from harkara.graph_simulator.template_checks import check_template, kind_of
from harkara.graph_simulator.templates import TemplateBook
from harkara.graph_simulator.windows import WINDOW_SECONDS, Windows
from harkara.graph_simulator.world import TemplateSpec, World

MAX_WAMIDS = 1_000_000
"""Inbound wamids remembered, with when they came, for mark-as-read; beyond it the oldest are forgotten."""
READABLE_SECONDS = 30 * 86_400.0
RESUME_SECONDS = 3_600.0
"""Statuses of messages accepted within the last hour are sent again after a restart: Meta would not lose them."""

_NON_DIGITS = re.compile(r"\D")
WINDOW_CLOSED = Fate("window_closed_131047", (Step("failed", "sent", 131047),))
"""A free-form message outside the window is accepted and fails by webhook (Meta's usual way)."""
HELD_RELEASED, HELD_DROPPED = SUFFIXES["0030"], SUFFIXES["0031"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """An accepted send: the 200 body and how the answer is to be spoiled."""

    body: bytes
    fate: Fate


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
        self.people = People()
        self.windows = Windows()
        self.agenda = Agenda()
        self.access = Access(world)
        self.calls = CallLog()
        self.templates = TemplateBook(world, self.agenda, self.tell)
        self.feedback = Feedback(self.templates, self.tell)
        self.lines = {n.phone_number_id: Line(n, w, SlidingSecond()) for w in world.wabas for n in w.numbers}
        self.wabas = {waba.id: waba for waba in world.wabas}
        self._capacity = Capacity(world)
        self._delivery = Delivery(outbox, self.people)
        self._inbound_at: dict[str, float] = {}
        self._paced: Counter[str] = Counter()
        self._pending_limit = pending_limit
        self.set_scenario(scenario)

    def app_secret(self) -> str:
        """The secret that signs webhooks, which is the app's (Meta)."""
        return self.outbox.secret()

    @property
    def scenario(self) -> Scenario:
        """The scenario in force."""
        return self.fates.scenario

    def set_scenario(self, scenario: Scenario) -> None:
        """Puts another scenario in force; a new seed starts a new sequence of chances."""
        self.fates = FateChooser(scenario)
        self.outbox.spoil(scenario.webhook_faults, scenario.time_scale)
        self.templates.review_seconds = scenario.review_ms / 1000
        self.templates.scale = scenario.time_scale

    def tell(self, waba_id: str, changed: str, value: JsonObject) -> None:
        """Sends one change of a field, signed; `time` is there on management fields only."""
        now = self.clock()
        seconds = None if changed in ("messages", "user_preferences") else int(now)
        self.outbox.schedule_body(envelope(waba_id, [{"value": value, "field": changed}], seconds), now)

    def advance(self) -> float:
        """Does what has fallen due by now, and says what time it is."""
        now = self.clock()
        self.agenda.run_due(now)
        return now

    # ---- sending ------------------------------------------------------------------------------------------------

    def judge(
        self, phone_number_id: str, authorization: str | None, raw: bytes, *, marketing_api: bool = False
    ) -> Verdict | Refusal | JsonObject:
        """One POST to /messages: a Verdict for an accepted send, a Refusal, or another 200's body (mark as read).

        `marketing_api`: it came to /marketing_messages, which takes templates of marketing alone (134100).
        """
        answer = self._judge(phone_number_id, authorization, raw, marketing_api)
        if isinstance(answer, Refusal):
            self.ledger.refused[answer.code] += 1
            REFUSED.labels(str(answer.code)).inc()
        return answer

    def _judge(
        self, phone_number_id: str, authorization: str | None, raw: bytes, marketing_api: bool
    ) -> Verdict | Refusal | JsonObject:
        now = self.advance()
        line = self.lines.get(phone_number_id)
        if line is None:
            return self.access.authorise(authorization, None, None) or unknown_object(phone_number_id, "POST")
        refusal = self.access.authorise(authorization, line.waba, line.number) or _blocked(line, now)
        if refusal is not None:
            return refusal
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return Refusal(100, "The request body is not valid JSON.")
        if isinstance(body, dict) and "status" in body and not marketing_api:
            return check_mark_read(body) or self._mark_read(body, now)
        refusal = check_envelope(body, marketing_api=marketing_api) or self._check_typed(line, body)
        if refusal is not None:
            return refusal
        recipient = _digits(line, body)
        if recipient == line.number.digits:
            return Refusal(131021)
        send = Send(body, recipient, self._template_of(line, body), self._window_open(line, recipient, now))
        if marketing_api and not send.marketing:
            return Refusal(134100)
        return self._meet_fate(line, send, now)

    def _check_typed(self, line: Line, body: JsonObject) -> Refusal | None:
        kind = body.get("type", "text")
        if kind != "template":
            refusal = check_content(body)
            media = body[kind].get("id") if refusal is None and isinstance(body[kind], dict) else None
            return refusal or self._check_media_id(line, kind, media)
        refusal = check_template(body["template"], self.templates.by_account[line.waba.id])
        if refusal is not None:
            return refusal
        spec = self._template_of(line, body)
        if spec is not None and spec.category == "AUTHENTICATION" and body.get("to") is None:
            return Refusal(131062)
        if spec is not None and spec.category == "MARKETING" and line.waba.marketing_disabled:
            return Refusal(131063)
        kind, media = _header_media(body["template"])
        return self._check_media_id(line, kind, media)

    def _check_media_id(self, line: Line, kind: str, media_id: object) -> Refusal | None:
        if not self.scenario.check_media_ids or not isinstance(media_id, str):
            return None
        return (
            None
            if self.media.fits(media_id, line.waba.id, kind, self.clock(), self.scenario.time_scale)
            else Refusal(131053)
        )

    def _template_of(self, line: Line, body: JsonObject) -> TemplateSpec | None:
        sent = body.get("template") if body.get("type") == "template" else None
        return self.templates.by_account[line.waba.id].get((sent["name"], sent["language"]["code"])) if sent else None

    def _mark_read(self, body: JsonObject, now: float) -> Refusal | JsonObject:
        came_at = self._inbound_at.get(body["message_id"])
        if came_at is None or now - came_at > READABLE_SECONDS / self.scenario.time_scale:
            return invalid("message_id")
        return {"success": True}

    def _meet_fate(self, line: Line, send: Send, now: float) -> Verdict | Refusal:
        refusal = self._of_person_or_account(line, send)
        if refusal is not None:
            return refusal
        fate = self.fates.choose(send.recipient, line.number.fate)
        free_form = send.template is None
        if self.fates.refuses(fate, send.recipient, free_form=free_form):
            assert fate.refuse_code is not None
            return Refusal(
                fate.refuse_code,
                subcode=fate.refuse_subcode,
                http_status=fate.refuse_status,
                retry_after_seconds=fate.retry_after_seconds,
            )
        window_closed = free_form and not send.window_open
        if window_closed and self.scenario.window == "sync":
            return Refusal(131047)
        if fate.fault in REFUSING:
            return Verdict(b"", fate)
        if self.outbox.pending >= self._pending_limit or self.ledger.full:
            return Refusal(131016)
        refusal = self._capacity.refusal(line, send, self.scenario, now)
        if refusal is not None:
            return refusal
        if window_closed and self.scenario.window == "webhook":
            fate = WINDOW_CLOSED
        return self._accept(line, send, self._changed_fate(line, send, fate, now), now)

    def _of_person_or_account(self, line: Line, send: Send) -> Refusal | None:
        """Refusals that who is written to, or whom the account may write to, brings."""
        waba = line.waba
        if waba.blocked_countries and send.recipient.startswith(waba.blocked_countries):
            return Refusal(130497)
        if not waba.payment_method and not send.window_open:
            return Refusal(131042)
        key_hash = send.body.get("recipient_identity_key_hash")
        return self.people.refusal(send.recipient, line.number.phone_number_id, key_hash)

    def _changed_fate(self, line: Line, send: Send, fate: Fate, now: float) -> Fate:
        """What the person, the marketing cap and pacing make of an accepted message."""
        scenario = self.scenario
        personal = self.people.fate(send.recipient, marketing=send.marketing, window_open=send.window_open)
        if personal is not None:
            return personal
        horizon = MARKETING_SECONDS / scenario.time_scale
        capping = send.marketing and (not send.window_open or scenario.window == "off")
        if capping and self.people.capped(send.recipient, now, scenario.marketing_per_person, horizon):
            return CAPPED
        if scenario.pacing != "off" and send.template is not None and self._is_paced(line, send.template, now):
            return HELD_RELEASED if scenario.pacing == "release" else HELD_DROPPED
        return fate

    def _is_paced(self, line: Line, template: TemplateSpec, now: float) -> bool:
        """Whether the message is held: a marketing template of unknown quality after its first messages. When the first
        held one is released, people took it well: its quality is known, and nothing more of it is held."""
        scenario = self.scenario
        if template.category != "MARKETING" or template.quality != "UNKNOWN":
            return False
        self._paced[template.id] += 1
        held = self._paced[template.id] > scenario.pacing_after
        if held and self._paced[template.id] == scenario.pacing_after + 1:
            pause, rate = self.templates.pause, self.templates.set_quality
            at = now + scenario.hold_ms / 1000
            if scenario.pacing == "drop":
                self.agenda.add(at, lambda when: pause(line.waba, template, when, in_pacing=True))
            else:
                self.agenda.add(at, lambda when: rate(line.waba, template, "GREEN", when))
        return held

    def _window_open(self, line: Line, recipient: str, now: float) -> bool:
        if self.scenario.window == "off":
            return True
        seconds = WINDOW_SECONDS / self.scenario.time_scale
        return self.windows.is_open(line.number.phone_number_id, recipient, now, seconds)

    def _accept(self, line: Line, send: Send, fate: Fate, now: float) -> Verdict:
        spec, user_id = send.template, send.body["recipient"] if send.body.get("to") is None else None
        entry = Entry(
            seq=self.ledger.last_seq + 1,
            accepted_at_ms=int(now * 1000),
            phone_number_id=line.number.phone_number_id,
            to=send.recipient,
            wamid=new_wamid(user_id or send.recipient),
            opaque=send.body.get("biz_opaque_callback_data"),
            type=send.body.get("type", "text"),
            template=spec.name if spec is not None else None,
            category=spec.category.lower() if spec is not None else "service",
            fate=fate.name,
            user_id=user_id,
        )
        self.ledger.append(entry)
        ACCEPTED.labels(entry.phone_number_id).inc()
        self._delivery.schedule(line, entry, fate, self.fates)
        if fate.reports:
            self.feedback.reported(line.waba, line.number, spec, self.scenario, now)
        return Verdict(_answer(send.body, entry, fate), fate)

    # ---- what comes after ---------------------------------------------------------------------------------------

    def resume(self, fates: Mapping[str, Fate]) -> int:
        """After a restart: schedules the statuses of what was accepted within the last hour; how many messages."""
        oldest_ms = (self.clock() - RESUME_SECONDS) * 1000
        resumed = 0
        for entry in self.ledger.page(0, self.ledger.last_seq):
            line, fate = self.lines.get(entry.phone_number_id), fates.get(entry.fate)
            if entry.accepted_at_ms >= oldest_ms and line is not None and fate is not None:
                self._delivery.schedule(line, entry, fate, self.fates)
                resumed += 1
        return resumed

    def receive(self, line: Line, sender: str, message: JsonObject, profile_name: str) -> str:
        """A user writes to a number: opens the window, counts into throughput, sends the webhook. Returns the wamid.

        A person whom the number blocked writes in vain: nothing comes of it (Meta, block users).
        """
        now = self.advance()
        wamid = new_wamid(sender, inbound=True)
        person = self.people.get(sender)
        if person is not None and line.number.phone_number_id in person.blocked_by:
            return wamid
        self.windows.open(line.number.phone_number_id, sender, now)
        line.second.take(now, line.number.most_per_second)
        self._inbound_at[wamid] = now
        if len(self._inbound_at) > MAX_WAMIDS:
            del self._inbound_at[next(iter(self._inbound_at))]
        shown = contact(sender, profile_name)
        content = {"from": sender, "from_user_id": user_id(sender), "id": wamid, "timestamp": str(int(now)), **message}
        if person is not None and person.username_only:
            del content["from"], shown["wa_id"]
        self.outbox.schedule(Update(line.waba.id, line.number, "messages", content, shown), now)
        return wamid

    def set_preference(self, line: Line, person: str, value: str) -> None:
        """A person stops or resumes marketing of a business in the app: `user_preferences`."""
        now = self.advance()
        self.people.known(person).stopped_marketing = value == "stop"
        content = {
            "wa_id": person,
            "user_id": user_id(person),
            "detail": f"User requested to {value} marketing messages",
            "category": "marketing_messages",
            "value": value,
            "timestamp": int(now),
        }
        update = Update(line.waba.id, line.number, "user_preferences", content, contact(person, "Simulated User"))
        self.outbox.schedule(replace(update, field="user_preferences"), now)

    def upgrade_throughput(self, line: Line) -> None:
        """A number goes to 1,000 messages a second: 131057 while it lasts, then THROUGHPUT_UPGRADE."""
        line.upgrading_until = self.clock() + self.scenario.upgrade_ms / 1000

        def done(_: float) -> None:
            line.number.throughput_per_second = 1_000
            value = notices.number_quality(line.number, "THROUGHPUT_UPGRADE")
            self.tell(line.waba.id, "phone_number_quality_update", value)

        self.agenda.add(line.upgrading_until, done)


def _blocked(line: Line, now: float) -> Refusal | None:
    if line.number.refuse_code is not None:
        return Refusal(line.number.refuse_code)
    if line.waba.status != "ACTIVE":
        return Refusal(368)
    if line.number.health == "BLOCKED":
        return Refusal(131031)
    if now < line.upgrading_until:
        return Refusal(131057)
    return Refusal(133010) if line.number.status != "CONNECTED" else None


def _digits(line: Line, body: JsonObject) -> str:
    """The recipient as wa_id, also where a user id is written to: whoever is known by both is one person for every
    limit. Without `+` Meta puts the business number's own country code in front."""
    to = body.get("to")
    if to is None:
        return digits_of(str(body["recipient"]))
    digits = _NON_DIGITS.sub("", to)
    country = line.number.digits[:2]
    complete = to.startswith("+") or (digits.startswith(country) and len(digits) > 10)
    return digits if complete else country + digits


def _header_media(template: JsonObject) -> tuple[str, object]:
    for component in template.get("components", []):
        if kind_of(component) == "header" and component.get("parameters"):
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
        contacts = [{"input": body["to"], "wa_id": shown_recipient(entry, fate)}]
    return orjson.dumps({"messaging_product": "whatsapp", "contacts": contacts, "messages": [message]})
