"""A message to a business-scoped user id, from the API to the person's answer: every hop's decision, without brokers.

API body, intent, guard, router, lane, the simulator in Meta's place, webhooks, then lifecycle, identity and consent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from harkara.compliance_guard.core import projected
from harkara.compliance_guard.effects import Judge, Listener
from harkara.contracts.consent import ConsentEvent, ConsentState
from harkara.contracts.event import Event
from harkara.contracts.identity import person_key
from harkara.contracts.intents import ClearedIntent, DispatchOrder
from harkara.contracts.lifecycle import MessageLifecycle, State, advance
from harkara.contracts.persons import PersonAlias
from harkara.contracts.topics import CONSENT_STATE, PERSON_IDENTITIES, SERVICE_WINDOWS
from harkara.contracts.webhooks import InboundMessage, ServiceWindow, WebhookChange
from harkara.dispatcher.plan import NumberFacts
from harkara.dispatcher.senders import body_of
from harkara.graph_api.outcome import Accepted
from harkara.graph_api.wire import SendAnswer
from harkara.graph_simulator.bodies import user_id
from harkara.graph_simulator.simulator import Verdict
from harkara.ingestion.core import Sender, intent_of, split
from harkara.ingestion.normalise import normalise
from harkara.ingestion.requests import SendRequest
from harkara.policy.known import Known as RouterKnown
from harkara.policy.pacing import Limits
from harkara.policy.standings import Standings
from harkara.runtime.clock import ManualClock
from harkara.runtime.kafka import Output, RawOutput
from harkara.runtime.loop import Incoming
from harkara.window_router.effects import Router
from tests.support.examples import examples
from tests.support.replay import incoming
from tests.unit.dispatcher.test_names import Known as Lane
from tests.unit.graph_simulator.test_rules import NUMBER, PERSON, TOKEN, WABA, Platform
from tests.unit.policy.cases import number, policy

PEPPER = b"a pepper of the tests"
USER_ID = user_id(PERSON.lstrip("+"))
P, U = person_key(PEPPER, PERSON), person_key(PEPPER, USER_ID)
TEMPLATE = {"name": "order_update", "language": "en", "body": ["Asha", "12"]}


class Path:
    """Every hop's own decision over what the hops before it wrote."""

    def __init__(self) -> None:
        self.platform = Platform(window="webhook")
        self.clock = ManualClock(datetime.fromtimestamp(self.platform.now, UTC))
        self.policy = policy(numbers=[number(NUMBER, waba_id=WABA)], pools=[])
        self.standings, self.known = Standings(with_owners=True), RouterKnown(self.clock.now)
        self.lane = Lane(now=self.platform.now)
        self.lane.fleet[NUMBER] = NumberFacts(NUMBER, NUMBER, WABA, Limits(), 20, "a")
        self.states: dict[str, State] = {}
        self.rows: dict[str, dict[str, Any]] = {}

    def send(self, message_id: str, **body: Any) -> str | None:
        """By the API, guard and router into the lane; the code of a refusal."""
        request = SendRequest.model_validate({"sessionId": NUMBER} | body)
        intent = intent_of(request, message_id=message_id, sender=Sender(NUMBER, NUMBER), producer="tests")
        judged = Judge(self.policy, PEPPER, self.standings, self.clock).judge(self.record(intent))
        cleared = self._told(judged)
        if not isinstance(cleared, ClearedIntent):
            return str(self.states[message_id]["reason"]["code"])
        order = self._told(Router(self.policy, self.known, self.clock).route(self.record(cleared)))
        if not isinstance(order, DispatchOrder):
            return str(self.states[message_id]["reason"]["code"])
        self.lane.take(order.model_dump(mode="json", exclude_none=True))
        return None

    def record(self, event: Event) -> Incoming:
        base = incoming(examples("send-intents")[0])
        return replace(base, envelope=replace(base.envelope, event=event), timestamp=self.clock.now())

    def call(self, message_id: str) -> dict[str, Any]:
        """The lane's call, to the simulator; the body that it had."""
        body = body_of(self.lane.state.messages[message_id])
        verdict = self.platform.sim.judge(NUMBER, TOKEN, orjson.dumps(body))
        assert isinstance(verdict, Verdict), verdict
        self.lane.answer(Accepted(SendAnswer.model_validate_json(verdict.body).messages[0].id), message_id)
        for emission in self.lane.emissions():
            if isinstance(emission.event, MessageLifecycle):
                self._step(emission.event)
        return body

    def webhooks(self) -> None:
        """Everything that the simulator has to say, into states, windows, identities and consent."""
        for change in self.platform.changes():
            body = {"object": "whatsapp_business_account", "entry": [{"id": WABA, "changes": [change]}]}
            digest = hashlib.sha256(orjson.dumps(body)).hexdigest()
            found, faults = split(body, digest, 1, datetime.fromtimestamp(self.platform.now, UTC))
            assert not faults
            for each in found:
                assert isinstance(each.event, WebhookChange)
                for emission in normalise(each.event, each.id, self.policy, PEPPER).emissions:
                    self._heard(emission.event)
        self.clock.advance(self.platform.now - self.clock.now().timestamp())
        self.lane.now = self.platform.now

    def _heard(self, event: Event) -> None:
        match event:
            case MessageLifecycle():
                self._step(event)
            case ServiceWindow():
                self.known.apply(SERVICE_WINDOWS, "", event)
            case PersonAlias():
                self.standings.apply(PERSON_IDENTITIES, "", event)
                self.known.apply(PERSON_IDENTITIES, "", event)
                self.lane.hear(event)
            case InboundMessage():
                for output in Listener(self.policy, self.standings.aliases).hear(self.record(event)):
                    assert isinstance(output, Output) and isinstance(output.event, ConsentEvent)
                    self._consent(output.event)

    def _consent(self, event: ConsentEvent) -> None:
        row = projected(self.rows.get(event.person_key), event)
        if row is not None:
            self.rows[event.person_key] = row
            state = ConsentState.model_validate(row)
            self.standings.apply(CONSENT_STATE, event.person_key, state)
            self.lane.hear(state)

    def _told(self, outputs: Iterable[Output | RawOutput]) -> Event | None:
        """The lifecycle is joined; what else was written for the next hop."""
        following: Event | None = None
        for output in outputs:
            assert isinstance(output, Output)
            if isinstance(output.event, MessageLifecycle):
                self._step(output.event)
            elif isinstance(output.event, ClearedIntent | DispatchOrder):
                following = output.event
        return following

    def _step(self, event: MessageLifecycle) -> None:
        assert event.message_id is not None
        self.states[event.message_id] = advance(self.states.get(event.message_id), event)


@pytest.mark.req("B17", "CMP-2")
def test_a_message_to_a_user_id_goes_all_the_way_and_a_stop_by_phone_ends_what_waits_for_it() -> None:
    path = Path()
    template = {"template": TEMPLATE, "category": "utility"}
    assert path.send("message-1", userId=USER_ID, **template) is None
    body = path.call("message-1")
    assert (body["recipient"], "to" in body) == (USER_ID, False)
    path.webhooks()
    state = path.states["message-1"]
    assert state["status"] == "read" and state["facts"]["person_key"] == U
    assert "reached_key" not in state["attempts"]["1"], "no status named a number"
    assert [(each.to, each.user_id) for each in path.platform.sim.ledger.page(0, 9)] == [(PERSON.lstrip("+"), USER_ID)]

    assert path.send("message-2", userId=USER_ID, message="Free text") == "window_closed"
    path.platform.writes()
    path.webhooks()
    assert path.send("message-3", userId=USER_ID, message="Free text") is None, "they wrote by phone"
    assert path.call("message-3")["text"]["body"] == "Free text"
    path.webhooks()
    assert path.states["message-3"]["status"] == "read"

    path.lane.verdict(NUMBER, "paused")
    assert path.send("message-4", userId=USER_ID, **template) is None
    assert path.send("message-5", to=PERSON, **template) is None
    assert {path.lane.status(f"message-{n}") for n in (4, 5)} == {"held"}
    path.platform.sim.receive(
        path.platform.sim.lines[NUMBER], PERSON.lstrip("+"), {"type": "text", "text": {"body": "STOP"}}, "Asha"
    )
    path.webhooks()
    path.lane.round()
    assert {path.lane.status(f"message-{n}") for n in (4, 5)} == {"cancelled"}
    assert path.send("message-6", userId=USER_ID, **template) == "opted_out"
    assert len(path.platform.sim.ledger.page(0, 9)) == 2
