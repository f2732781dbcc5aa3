"""Every metric of template-manager, with its meaning and what an operator does. An account is named by its id."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

TEMPLATES = Gauge(
    "harkara_template_manager_templates",
    "Templates of an account by status. PAUSED: their messages wait; look at what people reported. DISABLED, REJECTED: "
    "they are refused; send another template.",
    ["waba_id", "status"],
)
RATED_RED = Gauge(
    "harkara_template_manager_rated_red",
    "Templates of an account that Meta rates RED. The next step is a pause: send less of them, or another one.",
    ["waba_id"],
)
RECATEGORISED = Counter(
    "harkara_template_manager_recategorised_total",
    "Templates that Meta moved to a dearer category. Their messages of the old category are held and refused: cancel "
    "the run, or send it again with the new category (which asks for consent to it).",
    ["waba_id"],
)
CHANGED = Counter(
    "harkara_template_manager_changed_total",
    "Templates that were edited at Meta and take other values now. Messages that were planned before and do not fit "
    "are held as `template_changed`: cancel the run and send it again, or change the template back.",
    ["waba_id"],
)
SYNCS = Counter(
    "harkara_template_manager_syncs_total",
    "Readings of an account's list, by outcome (read, refused, unreachable, unreadable, no_token). `refused` growing: "
    "the token may not read templates (whatsapp_business_management), or too many calls are made.",
    ["waba_id", "outcome"],
)
LAST_SYNC = Gauge(
    "harkara_template_manager_last_sync_timestamp_seconds",
    "When the account's list was last read whole, in Unix time. Older than three intervals: only webhooks tell.",
    ["waba_id"],
)
