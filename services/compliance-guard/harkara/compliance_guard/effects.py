"""The guard's jobs on records: judging intents, hearing and answering people, keeping the consent projection."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from harkara.compliance_guard import core
from harkara.compliance_guard.compact import CompactRows
from harkara.compliance_guard.metrics import COMMANDS, CONFIRMATIONS, CONSENT_RECORDED, PERSONS, decided
from harkara.contracts.consent import ConsentEvent, ConsentRequest, Standing
from harkara.contracts.event import event_id
from harkara.contracts.identity import person_key
from harkara.contracts.intents import SendIntent, person_keys
from harkara.contracts.topics import CONSENT_EVENTS, CONSENT_STATE
from harkara.contracts.webhooks import InboundMessage
from harkara.policy.aliases import Aliases
from harkara.policy.clearance import Rejected, Word, decide, purpose_of
from harkara.policy.commands import Command, Commands, Said
from harkara.policy.confirmations import confirmation
from harkara.policy.governance import Governance
from harkara.policy.marks import marks_if_asked
from harkara.policy.recording import recorded
from harkara.policy.standings import Standings
from harkara.runtime.clock import Clock
from harkara.runtime.faust_app import ProjectionApp
from harkara.runtime.kafka import Output
from harkara.runtime.loop import Incoming, Refused

LATELY = timedelta(seconds=10)  # well above the 3 s after which everything said is known, or nothing is answered
MOST_LATELY = 10_000  # persons: a thousand commands a second for ten seconds
HEARD_IN_GROUPS: frozenset[Command] = frozenset({"stop", "pause"})


class Judge:
    """Clears or refuses intents, by what the replica of consent says."""

    def __init__(self, governance: Governance, pepper: bytes, standings: Standings, clock: Clock) -> None:
        self._governance = governance
        self._pepper = pepper
        self._standings = standings
        self._clock = clock
        PERSONS.set_function(lambda: len(standings))

    def follow(self, governance: Governance) -> None:
        """Decide by this policy from the next intent on."""
        self._governance = governance

    def judge(self, incoming: Incoming) -> Iterable[Output]:
        """The events that an intent leads to."""
        intent = incoming.envelope.event
        if not isinstance(intent, SendIntent):
            raise Refused("the record is no SendIntent")
        now = self._clock.now()
        person, also = person_keys(self._pepper, intent)
        question = core.question_of(intent, incoming.timestamp, person, now)
        word = self._standings.word(person, purpose_of(intent), also)
        names = self._standings.names(person, also)
        question = replace(question, word=word, also_key=also, names=names)
        decision = decide(question, self._governance, now)
        code = decision.reason.code if isinstance(decision, Rejected) else "cleared"
        decided(code).inc()
        marks = marks_if_asked(intent, self._pepper, self._governance.compliance)
        return core.outputs(question, decision, now, self._pepper, marks)


class Listener:
    """Hears the commands of people: before anything else, and whatever else is known or not."""

    def __init__(self, governance: Governance, aliases: Aliases | None = None) -> None:
        self._aliases = Aliases() if aliases is None else aliases  # one without links is false
        self.follow(governance)

    def follow(self, governance: Governance) -> None:
        """Hear this policy's opt-out words too, from the next message on."""
        self._commands = Commands(governance.compliance.opt_out_words)

    def hear(self, incoming: Incoming) -> Iterable[Output]:
        """The change of consent that a person's message is, if it is one. Of what is written to a group, which the
        others in it read too, only what stops us counts: an opt-in is told to us alone."""
        inbound = _inbound(incoming)
        said = self._commands.read(inbound.text, inbound.button_payload)
        if said is not None and inbound.group_id is not None and said.command not in HEARD_IN_GROUPS:
            return []
        if said is not None:
            COMMANDS.labels(said.command).inc()
        return core.heard(inbound, said, self._aliases.owners(inbound.person_key))


class Lately:
    """Who opted in or out within the last seconds. Two commands in a row are read together, and the replica follows
    the first one a moment later: without this the answer to the second would not know of it."""

    def __init__(self) -> None:
        self._opted: OrderedDict[str, tuple[Standing, datetime]] = OrderedDict()

    def note(self, inbound: InboundMessage, said: Said) -> None:
        """A command; only opting in or out is kept."""
        if said.command in ("stop", "start"):
            self._opted[inbound.person_key] = (
                "opted_out" if said.command == "stop" else "opted_in",
                inbound.received_at,
            )
            self._opted.move_to_end(inbound.person_key)
            while len(self._opted) > MOST_LATELY:
                self._opted.popitem(last=False)

    def word(self, inbound: InboundMessage) -> Word | None:
        """What the person said so shortly before this message that it may not have come round yet."""
        standing, at = self._opted.get(inbound.person_key, (None, inbound.received_at))
        return None if standing is None or abs(inbound.received_at - at) > LATELY else Word(standing)


class Answerer:
    """Confirms each command once. Apart from the listener, because it must know who is blocked before it speaks."""

    def __init__(self, governance: Governance, pepper: bytes, standings: Standings, clock: Clock) -> None:
        self.follow(governance)
        self._pepper = pepper
        self._standings = standings
        self._clock = clock
        self._lately = Lately()

    def follow(self, governance: Governance) -> None:
        """Answer by this policy from the next message on."""
        self._governance = governance
        self._commands = Commands(governance.compliance.opt_out_words)

    def answer(self, incoming: Incoming) -> Iterable[Output]:
        """The confirmation, cleared or refused as any intent is; none of what was written to a group, which opens
        nobody's own window."""
        inbound = _inbound(incoming)
        said = self._commands.read(inbound.text, inbound.button_payload)
        if said is None:
            return []
        if inbound.group_id is not None:
            CONFIRMATIONS.labels("in_a_group").inc()
            return []
        if self._clock.now() - inbound.sent_at > core.CONFIRMATION_LIFE:
            CONFIRMATIONS.labels("too_late").inc()
            return []
        known = self._standings.said(inbound.person_key)
        standing = None if known is None else known.transactional
        self._lately.note(inbound, said)
        language = None if known is None else known.language
        text = confirmation(said, language, self._lately.word(inbound) or standing)
        intent = core.answer_to(inbound, text, said)
        if intent is None:
            CONFIRMATIONS.labels("no_name").inc()
            return []
        now = self._clock.now()
        question = core.question_of(intent, inbound.received_at, inbound.person_key, now)
        names = self._standings.names(inbound.person_key)
        question = replace(question, word=standing, answers=inbound.sent_at, names=names)
        decision = decide(question, self._governance, now)
        CONFIRMATIONS.labels(decision.reason.code if isinstance(decision, Rejected) else "cleared").inc()
        return core.outputs(question, decision, now, self._pepper)


class Recorder:
    """Turns what upstream systems record of consent into events about pseudonyms."""

    def __init__(self, pepper: bytes, clock: Clock) -> None:
        self._pepper = pepper
        self._clock = clock

    def record(self, incoming: Incoming) -> Iterable[Output]:
        """The event under each name that is given; the record's own time is when we got it, unless its writer's clock
        is ahead."""
        request = incoming.envelope.event
        if not isinstance(request, ConsentRequest):
            raise Refused("the record is no ConsentRequest")
        outputs = []
        for number, name in enumerate(request.names):
            person = person_key(self._pepper, name)
            second = [number] if number else []
            event = recorded(
                request,
                identity=event_id("consent-request", request.producer, request.request_id, *second),
                person_key=person,
                source="kafka",
                actor=request.producer,
                received_at=min(incoming.timestamp, self._clock.now()),
            )
            outputs.append(Output(CONSENT_EVENTS, person, person, event, event.event_id, event.at))
        CONSENT_RECORDED.labels(request.standing).inc()
        return outputs


def _inbound(incoming: Incoming) -> InboundMessage:
    inbound = incoming.envelope.event
    if not isinstance(inbound, InboundMessage):
        raise Refused("the record is no InboundMessage")
    return inbound


def consent_projection(app: ProjectionApp) -> None:
    """Folds `consent-events` into the table whose changelog is `consent-state`."""
    table = app.projection_table("consent", CONSENT_STATE, CompactRows)

    def take(incoming: Incoming) -> None:
        event = incoming.envelope.event
        if not isinstance(event, ConsentEvent):
            raise TypeError("the topic holds one kind of event")
        row = core.projected(table.read(incoming.partition, event.person_key), event)
        if row is not None:
            table.write(incoming.partition, event.person_key, row)

    app.fold(CONSENT_EVENTS, take)


def gate_on(*fresh: Callable[[], bool]) -> Callable[[], str | None]:
    """Fail closed: without knowing everyone's consent as of at most 2 s ago nothing is cleared."""
    return lambda: None if all(each() for each in fresh) else "consent is not known up to now, so nothing is cleared"
