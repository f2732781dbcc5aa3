"""Every metric of ingestion, with its meaning and what an operator does about it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

WEBHOOKS = Counter(
    "harkara_ingestion_webhooks_total",
    "Webhook requests by outcome: accepted, mended (accepted; text that is no text was replaced), unsigned (401: a "
    "forgery, or HARKARA_APP_SECRETS is wrong), malformed (200; the wrong parts are on webhook-events-dlq), too_large "
    "(413), not_json (415), too_slow (408), unavailable (503: neither Kafka nor the spool took it; Meta repeats it).",
    ["outcome"],
)
WEBHOOK_SECONDS = Histogram(
    "harkara_ingestion_webhook_seconds",
    "From the first byte of a webhook to its answer. Meta wants a median of 250 ms; above 0.1 s at p99: look at Kafka.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
SECRETS_USED = Counter(
    "harkara_ingestion_webhooks_signed_total",
    "Webhooks by the place of their app secret in HARKARA_APP_SECRETS, from 1. An old secret may go once its series "
    "stands still.",
    ["secret"],
)
UNMAPPED = Counter(
    "harkara_ingestion_unmapped_changes_total",
    "Changes about a number or an account that the governance file does not know; kept under Meta's own id. Growing: "
    "a number is missing in the file, or the app is subscribed to an account that is not ours.",
    ["what"],
)
SPOOL_BYTES = Gauge(
    "harkara_ingestion_spool_bytes",
    "Size of the webhook spool on disk. Above 0: Kafka is away or was; see the age.",
)
SPOOL_LIMIT_BYTES = Gauge(
    "harkara_ingestion_spool_limit_bytes",
    "What the spool may hold (HARKARA_WEBHOOK_SPOOL_MAX_BYTES); beyond it webhooks are answered 503.",
)
SPOOL_WEBHOOKS = Gauge(
    "harkara_ingestion_spool_webhooks",
    "Webhooks that were answered 200 and wait in the spool for Kafka. Do not delete the data folder meanwhile.",
)
SPOOL_OLDEST_SECONDS = Gauge(
    "harkara_ingestion_spool_oldest_age_seconds",
    "How long the oldest webhook of the spool has waited, to within one batch; 0 when none waits. Growing: mend Kafka.",
)
SPOOL_APPENDED = Counter(
    "harkara_ingestion_spool_appended_total",
    "Webhooks put into the spool. Growing while Kafka is up: its acknowledgements take seconds.",
)
SPOOL_REPLAYED = Counter(
    "harkara_ingestion_spool_replayed_total",
    "Webhooks of the spool that are on their topic now.",
)
SPOOL_REFUSED = Counter(
    "harkara_ingestion_spool_refused_total",
    "Webhooks not spooled: full or disk (503; Meta repeats them), or set aside as a file in the spool's folder because "
    "Kafka takes no record of that size (too_large: raise max.message.bytes, post the file again).",
    ["why"],
)
SPOOL_DAMAGED = Counter(
    "harkara_ingestion_spool_damaged_bytes_total",
    "Bytes of the spool that the disk did not give back as they were written: webhooks answered 200 that are lost but "
    "for the .damaged file. Look at the disk.",
)
CHANGES = Counter(
    "harkara_ingestion_changes_total",
    "Changes the normaliser has finished, by field and outcome (applied, partly, ignored, quarantined). Quarantined "
    "growing: Meta sends something new; read the reason on webhook-events-dlq.",
    ["field", "outcome"],
)
UNKNOWN = Counter(
    "harkara_ingestion_unknown_total",
    "Things Meta sent that this version does not know: field, status, number, value_key (a key, shape or value), kind "
    "(of message: applied all the same). Kept raw; plan an update.",
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
REVIVED = Counter(
    "harkara_ingestion_components_revived_total",
    "Loops and replicas begun anew after an error of Kafka's ended them. Growing while Kafka is up: look at the log.",
    ["component"],
)
