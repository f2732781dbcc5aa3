"""Every metric of message-state, with its meaning and what an operator does."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

WAITING = Gauge(
    "harkara_message_state_waiting",
    "Statuses of Meta's without our callback data that wait under their wamid for the message. Above 1,000: messages "
    "were sent past the dispatcher with the same numbers, or the lanes' `submitted` events are missing.",
)
WAITING_DROPPED = Counter(
    "harkara_message_state_waiting_dropped_total",
    "Waiting wamids given up, by cause: `expired` after 7 days (normal for messages that are not ours), `full` when a "
    "partition holds 100,000. `full` growing: find out who else sends with these numbers.",
    ["cause"],
)
JOINED_BY_WAMID = Counter(
    "harkara_message_state_joined_by_wamid_total",
    "Statuses without callback data that found their message by its wamid. Growing fast: Meta no longer echoes "
    "biz_opaque_callback_data; in-doubt messages can then not be settled.",
)
UNNAMED = Counter(
    "harkara_message_state_unnamed_total",
    "Lifecycle events with neither message id nor wamid: they belong to nothing and are passed over. Should be 0.",
)
DUPLICATES = Counter(
    "harkara_message_state_duplicates_total",
    "Messages of which two attempts reached the person. Should be 0: look at the dispatcher's resends of that day.",
)
ANOMALIES = Counter(
    "harkara_message_state_anomalies_total",
    "States that contradict themselves, by kind. A few `failed_after_delivered` are Meta's; many: compare webhooks.",
    ["kind"],
)
FORGOTTEN = Counter(
    "harkara_message_state_forgotten_total",
    "States removed (tombstoned) because their newest event is older than the setting. Follows the send rate.",
)
MARKS = Counter(
    "harkara_message_state_marks_total",
    "Messages of which nothing was heard, by mark and cause. `silent`: accepted, and no status within the time of "
    "governance.yaml; see the runbook webhook-silence by its cause. `presumed_dropped`: not delivered within its time "
    "to live; phones that are off, or people who blocked the number.",
    ["mark", "cause"],
)
NUMBER_SILENCE = Gauge(
    "harkara_message_state_number_silence_seconds",
    "Seconds without a status of any message of the number while some wait for their first. Rising: its webhooks do "
    "not arrive.",
    ["phone_number_id"],
)
NUMBER_SILENT = Gauge(
    "harkara_message_state_number_silent",
    "1 while that is longer than `telemetry.silence.number_minutes`: check the webhook subscription of its account.",
    ["phone_number_id"],
)
BILLED = Counter(
    "harkara_message_state_billed_total",
    "Deliveries of which Meta said a price, each wamid once, by what was charged. Compare `category` with what the "
    "templates are meant to be: Meta changes utility to marketing silently.",
    ["category", "type"],
)
