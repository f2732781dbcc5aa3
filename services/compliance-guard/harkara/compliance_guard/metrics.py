"""Every metric of the guard, with its meaning and what an operator does about it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

DECISIONS = Counter(
    "harkara_compliance_guard_decisions_total",
    "Intents decided on, by outcome: `cleared`, or the reason's code. A code that jumps: look at one message's reason; "
    "`unknown_sender`: a producer names a number that governance.yaml does not have.",
    ["outcome"],  # bounded: the codes are those of harkara.policy.clearance and .content
)
CONSENT_WORDS = Counter(
    "harkara_compliance_guard_consent_words_total",
    "Words of people that changed their consent (opted_out, opted_in). Many opted_out at once: stop the run and read "
    "what it says.",
    ["standing"],
)
PERSONS = Gauge(
    "harkara_compliance_guard_persons",
    "Persons whose consent is held in memory, about 250 bytes each. Near the memory limit: raise it.",
)
