"""Every metric of outcome-notifier, with its meaning and what an operator does."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

OUTCOMES = Counter(
    "harkara_outcome_notifier_outcomes_total",
    "Outcomes written to message-outcomes, by kind. MESSAGE_FAILED growing faster than usual: look at the reasons.",
    ["kind"],
)
CALLBACKS = Counter(
    "harkara_outcome_notifier_callbacks_total",
    "Calls of producers' endpoints by outcome: delivered, failed (tried again), given_up (in the DLQ). `given_up` "
    "growing: tell the producer; its outcomes are on message-outcomes-dlq and can be written again.",
    ["producer", "outcome"],
)
CALL_SECONDS = Histogram(
    "harkara_outcome_notifier_call_seconds",
    "How long an endpoint took to answer. Above 1 s its callbacks fall behind: it should answer first and work then.",
    ["producer"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
WAITING = Gauge(
    "harkara_outcome_notifier_waiting",
    "Outcomes of the producer read and not delivered yet, at most 2,000. At the bound nothing more is read for it.",
    ["producer"],
)
OLDEST_SECONDS = Gauge(
    "harkara_outcome_notifier_oldest_waiting_seconds",
    "Age of the producer's oldest undelivered outcome. Above 15 minutes its endpoint is down or refuses us.",
    ["producer"],
)
FILE_CHANGES = Counter(
    "harkara_outcome_notifier_file_changes_total",
    "Changes of the callbacks file while running, by result (applied, refused). refused: the old endpoints stand; the "
    "log line `callbacks_refused` says why.",
    ["result"],
)
FILE_REFUSED = Gauge(
    "harkara_outcome_notifier_file_refused",
    "1 while the callbacks file on disk is not what holds, because it was refused. Mend it: it is read again at once.",
)


def forget(producer: str) -> None:
    """Show nothing more of what waits for a producer without an endpoint."""
    for gauge in (WAITING, OLDEST_SECONDS):
        gauge.remove(producer)
