"""Every metric of the dispatcher: what it means and what an operator does about it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ACCEPTED = Counter(
    "harkara_dispatcher_accepted_total",
    "Messages that Meta took, by number. Flat while the queue grows: look at the number's state and at attempts.",
    ["phone_number_id"],
)
ATTEMPTS = Counter(
    "harkara_dispatcher_attempts_total",
    "Outcomes of calls (accepted, refused, not_sent, in_doubt) with Meta's code or our reason.",
    ["outcome", "code"],
)
FAILED_LATER = Counter(
    "harkara_dispatcher_failed_later_total",
    "Attempts that Meta accepted and reported as failed afterwards, by a status, with its code (`none`: none said) and "
    "whose matter that is (message, recipient, pair, template, number, waba, portfolio, app). One code that grows with "
    "the accepted attempts: the queue fails behind the answers; see the runbook sends-failing.",
    ["code", "scope"],
)
ENDS = Counter(
    "harkara_dispatcher_ended_total",
    "Messages that ended in a lane, by status. Growing `failed_unsent`: look at dispatch-orders-dlq.",
    ["status"],
)
QUEUE = Gauge(
    "harkara_dispatcher_messages",
    "Live messages of a number by status (queued, scheduled, held, retrying, attempting, in_doubt, unknown). "
    "`unknown`: resolve them in the console. `held`: see why on the number's page.",
    ["phone_number_id", "status"],
)
IN_DOUBT = Counter(
    "harkara_dispatcher_in_doubt_total",
    "Attempts that ended in doubt, by reason. More than 1 in 1,000: look at the network and at the process's restarts.",
    ["reason"],
)
IN_DOUBT_SETTLED = Counter(
    "harkara_dispatcher_in_doubt_settled_total",
    "Messages in doubt that ended as accepted (an echo came), or became unknown. The share unknown is the honest loss.",
    ["as_"],
)
DUPLICATES = Counter(
    "harkara_dispatcher_duplicates_total",
    "Second attempts of a message that Meta has besides another one: statuses showed both. Each follows a resend that "
    "was granted while the first attempt was in doubt. More than a few: make the category's in_doubt_policy `unknown`.",
)
BREAKER = Gauge(
    "harkara_dispatcher_breaker",
    "1 for the present state of a number's circuit breaker: closed, open (its endpoint does not serve: nothing is "
    "called) or half_open (one call at a time is tried). Long open: look at Meta's status page and the way out.",
    ["phone_number_id", "state"],
)
JOURNAL_TO_CALL_SECONDS = Histogram(
    "harkara_dispatcher_journal_to_call_seconds",
    "From the decision to call to the moment before the first byte. Above 0.05 s: the commit or the process is slow.",
    # finer where a fast number's calls start: decided 40 ms before their places (ADR 14), late above 50
    buckets=(0.005, 0.01, 0.02, 0.03, 0.04, 0.0425, 0.045, 0.0475, 0.05, 0.06, 0.08, 0.1, 0.25, 0.5, 1, 2),
)
TRANSACTION_SECONDS = Histogram(
    "harkara_dispatcher_transaction_seconds",
    "One group commit of a lane. Above 0.1 s: look at the brokers.",
    buckets=(0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1, 5),
)
HELD_BY_META = Counter(
    "harkara_dispatcher_held_by_meta_total",
    "Messages that Meta took and holds for their template, by what it says (held_for_quality_assessment, paused). It "
    "delivers them within an hour mostly, or refuses them (132015): see the runbook templates.",
    ["phone_number_id", "message_status"],
)
ASSESSMENTS = Counter(
    "harkara_dispatcher_template_assessments_total",
    "How often a template was held in its lane because Meta took a message of it and holds that while it looks at how "
    "people take the template (`began`), and how often a message that tried it was held too (`again`: every ten "
    "minutes). `again` for hours: see the template's quality in WhatsApp Manager, and the runbook templates.",
    ["word"],
)
FALLBACKS = Counter(
    "harkara_dispatcher_fallbacks_total",
    "Fallback contents that went, by Meta's code for the first content; not_delivered: nothing was said in time. "
    "not_watched: messages that have none any more, since their lane watches 20,000 others: give fewer of them one.",
    ["because"],
)
INDICATORS = Counter(
    "harkara_dispatcher_typing_indicators_total",
    "Typing indicators before an answer, by whether Meta took them (shown, not_shown). The answer goes in either case.",
    ["result"],
)
HELD_FOR_A_PLACE = Gauge(
    "harkara_dispatcher_held_for_a_place",
    "Messages of a home that wait for a place under their portfolio's messaging limit. For long: see the portfolio's "
    "limit and use (quality-monitor's metrics); all held and none used: quality-monitor does not answer.",
    ["home"],
)
LANES = Gauge("harkara_dispatcher_lanes", "Lanes that this process works. Their sum over processes is PARTITIONS.")
HALTED_LANES = Gauge(
    "harkara_dispatcher_halted_lanes",
    "Lanes with a journal but without a committed offset: nothing of them is sent. See the log line `lane_refused`.",
)
FENCED = Counter(
    "harkara_dispatcher_fenced_total",
    "Lanes that another process took while this one still held them. Rare: a process was frozen or cut off.",
)
ALERTS = Counter(
    "harkara_dispatcher_alerts_total",
    "Refusals that somebody must look at, by Meta's code (`http` where there was none), and our own mistakes: "
    "`request_invalid` (of a message's content), `request_impossible` (of a number's settings). See the runbook.",
    ["code"],
)
RATE = Gauge(
    "harkara_dispatcher_allowed_rate",
    "Calls per second that a number may make now. Below its profile's: Meta said that it is too fast (130429). Back "
    "within a minute, else the profile promises more than Meta gives the number.",
    ["phone_number_id"],
)
CUTS = Counter(
    "harkara_dispatcher_rate_cuts_total",
    "How often Meta made a number halve its rate (130429). Again and again: give the number a slower profile.",
    ["phone_number_id"],
)
