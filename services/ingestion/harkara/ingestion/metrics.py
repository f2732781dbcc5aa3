"""Every metric of ingestion, with its meaning and what an operator does about it."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

WEBHOOKS = Counter(
    "harkara_ingestion_webhooks_total",
    "Webhook requests by outcome: accepted, unsigned (401: a forgery, or HARKARA_APP_SECRETS is wrong), malformed "
    "(kept on webhook-events-dlq), too_large (413), unavailable (503: Kafka did not acknowledge; Meta repeats it).",
    ["outcome"],
)
WEBHOOK_SECONDS = Histogram(
    "harkara_ingestion_webhook_seconds",
    "From the first byte of a webhook to its answer. Meta wants a median of 250 ms; above 0.1 s at p99: look at Kafka.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
CHANGES = Counter(
    "harkara_ingestion_changes_total",
    "Changes the normaliser has finished, by field and outcome (applied, partly, ignored, quarantined). Quarantined "
    "growing: Meta sends something new; read the reason on webhook-events-dlq.",
    ["field", "outcome"],
)
UNKNOWN = Counter(
    "harkara_ingestion_unknown_total",
    "Things Meta sent that this version does not know: field, status, number, value_key. Kept raw; plan an update.",
    ["what"],
)
NORMALISED = Counter(
    "harkara_ingestion_normalised_total",
    "Events written by the normaliser, by topic. Zero while messages are sent: webhooks do not arrive.",
    ["topic"],
)
INTENTS = Counter(
    "harkara_ingestion_intents_total",
    "Messages accepted by the API, by route (send, batch, runs).",
    ["route"],
)
CONSENT = Counter(
    "harkara_ingestion_consent_recorded_total",
    "Consent recorded by the API, by its standing. A jump of opted_in: look at the audit log for who records it.",
    ["standing"],
)
REFUSALS = Counter(
    "harkara_ingestion_refusals_total",
    "API requests refused, by the problem's code. UNAUTHORIZED growing: a client has a wrong or withdrawn key.",
    ["code"],
)
PRODUCERS_REPLACED = Counter(
    "harkara_ingestion_producers_replaced_total",
    "Producers thrown away after an error of Kafka's. More than one an hour: look at the brokers.",
)
