"""Every metric of quality-monitor, with its meaning and what an operator does. A number is named by its id."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

VERDICT = Gauge(
    "harkara_quality_monitor_number_verdict",
    "1 for what the number may do now: open, paused, pause_proactive or halted. `halted` waits for an operator: read "
    "the reason in the console, mend its cause, then resume.",
    ["phone_number_id", "verdict"],
)
QUALITY = Gauge(
    "harkara_quality_monitor_number_quality",
    "1 for the number's quality rating (GREEN, YELLOW, RED, UNKNOWN). RED: stop campaigns of this number and look at "
    "what was sent; people block or report it.",
    ["phone_number_id", "quality"],
)
POLLS = Counter(
    "harkara_quality_monitor_polls_total",
    "Questions to Meta, by outcome (answered, refused, unreachable, unreadable). `refused` growing: the token lacks "
    "a permission; `unreachable`: the way to Meta is broken.",
    ["outcome"],
)
LAST_ANSWER = Gauge(
    "harkara_quality_monitor_last_answer_timestamp_seconds",
    "When Meta last answered for the number, in Unix time. Older than three poll intervals: its health is unknown.",
    ["phone_number_id"],
)
LATCHES = Counter(
    "harkara_quality_monitor_latches_total",
    "Numbers halted until an operator resumes them, by who said it (poll, webhook, dispatcher, operator).",
    ["source"],
)
PORTFOLIO_LIMIT = Gauge(
    "harkara_quality_monitor_portfolio_limit",
    "People outside service windows whom the portfolio may write to in 24 hours; -1: no limit, or none is known yet.",
    ["portfolio_id"],
)
PORTFOLIO_USED = Gauge(
    "harkara_quality_monitor_portfolio_used",
    "People of the portfolio who count now. Near the limit: messages to others wait until a day after these were sent.",
    ["portfolio_id"],
)
PORTFOLIO_OUTSTANDING = Gauge(
    "harkara_quality_monitor_portfolio_outstanding",
    "Units that homes were granted and have not reported. High for minutes while others wait: a lane is not worked.",
    ["portfolio_id"],
)
PORTFOLIO_WANTED = Gauge(
    "harkara_quality_monitor_portfolio_wanted",
    "Units that homes wait for. Above 0 for long: the limit is full; ask Meta for a higher one, or spread the runs.",
    ["portfolio_id"],
)
