"""THE table of topics. Creation, documentation, DLQs, Kubernetes resources and the command line all read it.

`partitioned_by` says what chooses the partition (`partition.partition_for` of it), `key` what the record's key is: on a
compacted topic the entity, elsewhere usually the same as what partitions it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harkara.contracts.audit import AuditRecord
from harkara.contracts.commands import SendCommand
from harkara.contracts.consent import ConsentEvent, ConsentRequest, ConsentState
from harkara.contracts.event import Event
from harkara.contracts.intents import ClearedIntent, DispatchOrder, SendIntent
from harkara.contracts.journal import JournalRecord
from harkara.contracts.lifecycle import MessageLifecycle, MessageState
from harkara.contracts.numbers import NumberCommand, NumberEvent, NumberState, QueueState
from harkara.contracts.outcomes import MessageOutcome
from harkara.contracts.persons import PersonAlias
from harkara.contracts.portfolios import PortfolioEvent, PortfolioLease
from harkara.contracts.runs import AudienceRow, RunProgress, SendRun, SlaEvent
from harkara.contracts.template_state import TemplateState
from harkara.contracts.templates import TemplateEvent
from harkara.contracts.webhooks import InboundMessage, ServiceWindow, WebhookChange

UPSTREAM = "upstream producers"
DAY_MS = 24 * 3600 * 1000
LARGEST_RECORD_BYTES = 4 * 1024 * 1024  # a webhook is at most 3 MB (Meta); an event is far smaller

PartitionedBy = Literal["home", "run", "person", "portfolio", "phone number id or WABA id", "WABA id", "source"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: who writes and reads it, how it is keyed and kept."""

    name: str
    events: tuple[type[Event], ...]
    key: str
    partitioned_by: PartitionedBy
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    retention_days: int | None = None
    compacted: bool = False
    compaction_lag_hours: int = 0
    personal_data: bool = False
    about: str = ""
    pseudonyms: bool = False
    """Whether its records say by a pseudonym whom they are about; those with personal data may, besides."""
    broker_time: bool = False
    """Whether its records carry the broker's time and not their writer's."""

    @property
    def _put_aside_by(self) -> list[str]:
        """Besides its readers: the dispatcher, whose events follow from its journal, so that what the broker refuses
        would be written, and refused, again by every owner to come."""
        return [each for each in self.writers if each == "dispatcher"]

    @property
    def dlq(self) -> Topic:
        """Where a record of this topic goes that cannot be processed: its bytes and headers, and the reason."""
        return Topic(
            name=f"{self.name}-dlq",
            events=self.events,
            key=self.key,
            partitioned_by="source",
            writers=tuple(dict.fromkeys([each for each in self.readers if each != UPSTREAM] + self._put_aside_by)),
            readers=("console",),
            retention_days=30,
            personal_data=self.personal_data,
            pseudonyms=self.pseudonyms,
            about=f"records of {self.name} that could not be processed, with the reason",
        )

    def configs(self) -> dict[str, str]:
        """The topic's settings for Kafka. Compacted topics keep tombstones a day, so that a slow replica sees them."""
        size = {"max.message.bytes": str(LARGEST_RECORD_BYTES)}
        if self.broker_time:
            size["message.timestamp.type"] = "LogAppendTime"
        if self.compacted:
            kept = size | {"cleanup.policy": "compact", "delete.retention.ms": str(DAY_MS), "segment.ms": str(DAY_MS)}
            if self.compaction_lag_hours:
                kept["min.compaction.lag.ms"] = str(self.compaction_lag_hours * 3600 * 1000)
            return kept
        retention = -1 if self.retention_days is None else self.retention_days * DAY_MS
        if self.retention_days is not None and (self.personal_data or self.pseudonyms):
            size["segment.ms"] = str(DAY_MS)  # Kafka forgets whole segments, by their newest record: not a week's
        return size | {"cleanup.policy": "delete", "retention.ms": str(retention)}


def _urgent(topic: Topic, what: str = "priority 3") -> Topic:
    """The twin that is polled first: what is urgent never waits behind a campaign."""
    return Topic(
        **{field: getattr(topic, field) for field in Topic.__slots__}
        | {"name": f"{topic.name}-urgent", "about": f"{topic.about}; {what}, read first"}
    )


SEND_INTENTS = Topic(
    "send-intents", (SendIntent,), "sender", "home", (UPSTREAM, "ingestion"), ("compliance-guard",), 7,
    personal_data=True, about="what producers want sent",
)  # fmt: skip
SEND_INTENTS_URGENT = _urgent(SEND_INTENTS)
RUN_AUDIENCE = Topic(
    "run-audience", (AudienceRow,), "run id", "run", ("ingestion",), ("ingestion",), 7,
    personal_data=True, about="the frozen recipients of accepted runs; the emitter turns them into intents",
)  # fmt: skip
SEND_COMMANDS = Topic(
    "send-commands", (SendCommand,), "home", "home", ("ingestion", "console"), ("dispatcher",), 7,
    pseudonyms=True, about="cancel, pause, resume, prioritise, resolve",
)  # fmt: skip
CLEARED_INTENTS = Topic(
    "cleared-intents", (ClearedIntent,), "home", "home", ("compliance-guard",), ("window-router",), 7,
    personal_data=True, about="intents that may be sent",
)  # fmt: skip
CLEARED_INTENTS_URGENT = _urgent(CLEARED_INTENTS)
DISPATCH_ORDERS = Topic(
    "dispatch-orders", (DispatchOrder,), "home", "home", ("window-router", "console"), ("dispatcher",), 7,
    personal_data=True, about="route plans; the console writes dead ones again",
)  # fmt: skip
DISPATCH_ORDERS_URGENT = _urgent(DISPATCH_ORDERS)
DISPATCH_JOURNAL = Topic(
    "dispatch-journal", (JournalRecord,), "message id, number, command, or `emitted`", "home", ("dispatcher",),
    ("dispatcher",), compacted=True, compaction_lag_hours=24, personal_data=True,
    about="the lanes' write-ahead journal, written in transactions; tombstoned 7 days after a message's end",
)  # fmt: skip
QUEUE_STATE = Topic(
    "queue-state", (QueueState,), "phone number id", "home", ("dispatcher",), ("ingestion", "console", "window-router"),
    compacted=True, about="how each number's queue stands",
)  # fmt: skip
WEBHOOK_EVENTS = Topic(
    "webhook-events", (WebhookChange,), "phone number id, else WABA id", "phone number id or WABA id", ("ingestion",),
    ("ingestion",), 8, personal_data=True, about="verified webhooks, raw, one record per change",
)  # fmt: skip
WEBHOOK_EVENTS_URGENT = _urgent(WEBHOOK_EVENTS, "what people wrote or want")
MESSAGE_LIFECYCLE = Topic(
    "message-lifecycle", (MessageLifecycle,), "home", "home",
    ("ingestion", "compliance-guard", "window-router", "dispatcher", "message-state"),
    ("message-state", "dispatcher", "sla-tracker", "console"), 30,
    pseudonyms=True, about="every step of every message",
)  # fmt: skip
MESSAGE_STATE = Topic(
    "message-state", (MessageState,), "message id", "home", ("message-state",),
    ("console", "outcome-notifier", UPSTREAM), compacted=True,
    pseudonyms=True, about="each message's current state: the changelog of its table",
)  # fmt: skip
MESSAGE_OUTCOMES = Topic(
    "message-outcomes", (MessageOutcome,), "home", "home", ("outcome-notifier",), ("outcome-notifier", UPSTREAM), 7,
    pseudonyms=True, about="what producers are told: sent, delivered, read, failed",
)  # fmt: skip
INBOUND_MESSAGES = Topic(
    "inbound-messages", (InboundMessage,), "home", "home", ("ingestion",),
    ("compliance-guard", "dispatcher"), 7, personal_data=True, about="what people wrote to our numbers",
)  # fmt: skip
SERVICE_WINDOWS = Topic(
    "service-windows", (ServiceWindow,), "phone number id and person", "home", ("ingestion",),
    ("window-router", "ingestion"), compacted=True, pseudonyms=True,
    about="when each person last wrote to each number",
)  # fmt: skip
CONSENT_REQUESTS = Topic(
    "consent-requests", (ConsentRequest,), "phone", "person", (UPSTREAM,), ("compliance-guard",), 7,
    personal_data=True, about="consent that upstream systems record; any key does, nothing depends on it",
)  # fmt: skip
CONSENT_EVENTS = Topic(
    "consent-events", (ConsentEvent,), "person", "person", ("ingestion", "compliance-guard", "dispatcher", "console"),
    ("compliance-guard", "console"), pseudonyms=True, about="every change of consent, for ever",
)  # fmt: skip
CONSENT_STATE = Topic(
    "consent-state", (ConsentState,), "person", "person", ("compliance-guard",),
    ("compliance-guard", "dispatcher", "ingestion"), compacted=True, pseudonyms=True,
    about="each person's consent; the changelog of the guard's projection",
)  # fmt: skip
PERSON_IDENTITIES = Topic(
    "person-identities", (PersonAlias,), "person and alias", "person", ("ingestion",),
    ("compliance-guard", "window-router", "ingestion", "dispatcher", "console"), compacted=True, pseudonyms=True,
    about="under which names the same person is known: phone, business-scoped user id, before and after a change",
)  # fmt: skip
NUMBER_EVENTS = Topic(
    "number-events", (NumberEvent,), "home", "home", ("ingestion", "dispatcher", "quality-monitor"),
    ("quality-monitor", "console"), 30, about="what was seen about numbers",
)  # fmt: skip
NUMBER_COMMANDS = Topic(
    "number-commands", (NumberCommand,), "home", "home", ("console",), ("quality-monitor",), 7,
    about="operators' words on numbers",
)  # fmt: skip
NUMBER_STATE = Topic(
    "number-state", (NumberState,), "phone number id", "home", ("quality-monitor",),
    ("window-router", "dispatcher", "ingestion", "message-state", "console", "quality-monitor"), compacted=True,
    about="what each number may do now",
)  # fmt: skip
TEMPLATE_EVENTS = Topic(
    "template-events", (TemplateEvent,), "WABA id, name and language", "WABA id",
    ("ingestion", "template-manager", "dispatcher"), ("template-manager",), 30, about="what was seen about templates",
)  # fmt: skip
TEMPLATE_STATE = Topic(
    "template-state", (TemplateState,), "WABA id, name and language", "WABA id", ("template-manager",),
    ("window-router", "dispatcher", "ingestion", "template-manager"), compacted=True,
    about="status, category, values, quality and wording of each template; the changelog of template-manager's table",
)  # fmt: skip
SEND_RUNS = Topic(
    "send-runs", (SendRun,), "run id", "run", ("ingestion",), ("ingestion", "sla-tracker", "console"), compacted=True,
    about="accepted runs",
)  # fmt: skip
RUN_PROGRESS = Topic(
    "run-progress", (RunProgress,), "run id and lifecycle partition", "run", ("sla-tracker",),
    ("sla-tracker", "console"), compacted=True, about="counts of each run per lifecycle partition",
)  # fmt: skip
SLA_EVENTS = Topic(
    "sla-events", (SlaEvent,), "run id", "run", ("sla-tracker",), ("console", "sla-tracker"), 30,
    about="runs that ended or missed",
)  # fmt: skip
PORTFOLIO_EVENTS = Topic(
    "portfolio-events", (PortfolioEvent,), "portfolio", "portfolio", ("dispatcher", "quality-monitor"),
    ("quality-monitor",), 30, pseudonyms=True, broker_time=True,
    about="whom a portfolio's numbers wrote to outside windows; the ledger is a function of it",
)  # fmt: skip
PORTFOLIO_LEASES = Topic(
    "portfolio-leases", (PortfolioLease,), "portfolio", "portfolio", ("quality-monitor",),
    ("dispatcher", "quality-monitor", "ingestion"), compacted=True,
    about="how many more people each home may write to under the portfolio's messaging limit",
)  # fmt: skip
AUDIT_LOG = Topic(
    "audit-log", (AuditRecord,), "subject", "source",
    ("console", "dispatcher", "compliance-guard", "window-router", "ingestion"), ("console",), 30,
    pseudonyms=True, about="who did what",
)  # fmt: skip

STREAMS: tuple[Topic, ...] = (
    SEND_INTENTS, SEND_INTENTS_URGENT, RUN_AUDIENCE, SEND_COMMANDS, CLEARED_INTENTS, CLEARED_INTENTS_URGENT,
    DISPATCH_ORDERS, DISPATCH_ORDERS_URGENT, DISPATCH_JOURNAL, QUEUE_STATE, WEBHOOK_EVENTS, WEBHOOK_EVENTS_URGENT,
    MESSAGE_LIFECYCLE, MESSAGE_STATE, MESSAGE_OUTCOMES, INBOUND_MESSAGES, SERVICE_WINDOWS, CONSENT_REQUESTS,
    CONSENT_EVENTS, CONSENT_STATE, PERSON_IDENTITIES, NUMBER_EVENTS, NUMBER_COMMANDS, NUMBER_STATE, TEMPLATE_EVENTS,
    TEMPLATE_STATE, SEND_RUNS, RUN_PROGRESS, SLA_EVENTS, PORTFOLIO_EVENTS, PORTFOLIO_LEASES, AUDIT_LOG,
)  # fmt: skip

QUARANTINED: tuple[Topic, ...] = (
    SEND_INTENTS, SEND_INTENTS_URGENT, RUN_AUDIENCE, SEND_COMMANDS, CLEARED_INTENTS, CLEARED_INTENTS_URGENT,
    DISPATCH_ORDERS, DISPATCH_ORDERS_URGENT, WEBHOOK_EVENTS, WEBHOOK_EVENTS_URGENT, MESSAGE_LIFECYCLE, MESSAGE_STATE,
    MESSAGE_OUTCOMES,
    INBOUND_MESSAGES, CONSENT_REQUESTS, CONSENT_EVENTS, PERSON_IDENTITIES, NUMBER_EVENTS, NUMBER_COMMANDS,
    TEMPLATE_EVENTS, SEND_RUNS, PORTFOLIO_EVENTS,
)  # fmt: skip
"""Topics whose readers quarantine what they cannot process on `<topic>-dlq`."""

TOPICS: tuple[Topic, ...] = STREAMS + tuple(topic.dlq for topic in QUARANTINED)
BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}
