"""The guard's three jobs on records: judging intents, hearing people, keeping the consent projection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from harkara.compliance_guard import core
from harkara.compliance_guard.metrics import CONSENT_WORDS, DECISIONS, PERSONS
from harkara.compliance_guard.standings import Standings
from harkara.contracts.consent import ConsentEvent
from harkara.contracts.identity import person_key
from harkara.contracts.intents import SendIntent
from harkara.contracts.topics import CONSENT_EVENTS, CONSENT_STATE
from harkara.contracts.webhooks import InboundMessage
from harkara.policy.clearance import Rejected, decide, purpose_of
from harkara.policy.governance import Governance
from harkara.policy.optout import Keywords
from harkara.runtime.clock import Clock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.kafka import Output
from harkara.runtime.loop import Incoming, Refused


class Judge:
    """Clears or refuses intents, by what the replica of consent says."""

    def __init__(self, governance: Governance, pepper: bytes, standings: Standings, clock: Clock) -> None:
        self._governance = governance
        self._pepper = pepper
        self._standings = standings
        self._clock = clock
        PERSONS.set_function(lambda: len(standings))

    def judge(self, incoming: Incoming) -> Iterable[Output]:
        """The events that an intent leads to."""
        intent = incoming.envelope.event
        if not isinstance(intent, SendIntent):
            raise Refused("the record is no SendIntent")
        now = self._clock.now()
        question = core.question_of(intent, incoming.timestamp, person_key(self._pepper, intent.to), now)
        word = self._standings.word(question.person_key, purpose_of(intent))
        question = replace(question, word=word)
        decision = decide(question, self._governance, now)
        code = decision.reason.code if isinstance(decision, Rejected) else "cleared"
        DECISIONS.labels(code).inc()
        return core.outputs(question, decision, now)


class Listener:
    """Hears the words that opt a person out or in."""

    def __init__(self, governance: Governance) -> None:
        self._keywords = Keywords(governance.compliance.opt_out_words)

    def hear(self, incoming: Incoming) -> Iterable[Output]:
        """The change of consent that a person's message is, if it is one."""
        inbound = incoming.envelope.event
        if not isinstance(inbound, InboundMessage):
            raise Refused("the record is no InboundMessage")
        outputs = core.heard(inbound, self._keywords)
        for output in outputs:
            if isinstance(output.event, ConsentEvent):
                CONSENT_WORDS.labels(output.event.standing).inc()
        return outputs


def consent_projection(app: ProjectionApp) -> None:
    """Folds `consent-events` into the table whose changelog is `consent-state`."""
    table = app.projection_table("consent", CONSENT_STATE)

    def take(incoming: Incoming) -> None:
        event = incoming.envelope.event
        if not isinstance(event, ConsentEvent):
            raise TypeError("the topic holds one kind of event")
        row = core.projected(table.read(incoming.partition, event.person_key), event)
        if row is not None:
            table.write(incoming.partition, event.person_key, row)

    app.fold(CONSENT_EVENTS, take)


def gate_on(fresh: Callable[[], bool]) -> Callable[[], str | None]:
    """Fail closed: without knowing everyone's consent as of at most 2 s ago nothing is cleared."""
    return lambda: None if fresh() else "consent is not known up to now, so nothing is cleared"
