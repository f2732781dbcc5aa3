"""Every metric of the guard, with its meaning and what an operator does about it."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge

DECISIONS = Counter(
    "harkara_compliance_guard_decisions_total",
    "Intents decided on, by outcome: `cleared`, or the reason's code. A code that jumps: look at one message's reason; "
    "`unknown_sender`: a producer names a number that governance.yaml does not have.",
    ["outcome"],  # bounded: the codes are those of harkara.policy.clearance and .content
)
decided = lru_cache(maxsize=200)(DECISIONS.labels)
"""The counter of an outcome: finding it anew takes longer than counting."""
COMMANDS = Counter(
    "harkara_compliance_guard_commands_total",
    "Commands of people (stop, start, pause, resume, help). Many stops at once: stop the run and read what it says.",
    ["command"],
)
CONFIRMATIONS = Counter(
    "harkara_compliance_guard_confirmations_total",
    "Answers to commands, by outcome: `cleared`, `no_name` (the person has neither phone nor user id), "
    "`too_late` (written more than 30 minutes ago: a webhook that Meta repeats for days), `in_a_group` (written to a "
    "group, which opens nobody's own window), or the reason's code why there was none.",
    ["outcome"],
)
CONSENT_RECORDED = Counter(
    "harkara_compliance_guard_consent_recorded_total",
    "Consent that upstream systems recorded by Kafka, by its standing. A jump of opted_in: look where it comes from.",
    ["standing"],
)
CARRIED = Counter(
    "harkara_compliance_guard_carried_total",
    "Words of people written under another name of theirs when the link between the two names became known. Follows "
    "how often people change their number or hide it; a jump: look at what Meta sends on person-identities.",
)
BEHIND = Gauge(
    "harkara_compliance_guard_consent_unread_seconds",
    "Seconds since everything that people had said was known to be in the consent replica. Above 3 s nothing is "
    "cleared: look at the lag of the groups compliance-guard-listener and compliance-guard-consent.",
)
PERSONS = Gauge(
    "harkara_compliance_guard_persons",
    "Persons whose consent is held in memory, about 200 bytes each. Near the memory limit: raise it.",
)
