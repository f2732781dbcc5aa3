"""Every metric of the simulator, with what it means and what to do."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

ACCEPTED = Counter(
    "harkara_simulator_accepted_total",
    "Messages accepted and written to the ledger. Action: compare with the dispatcher's submitted count.",
    ["phone_number_id"],
)
REFUSED = Counter(
    "harkara_simulator_refused_total",
    "Sends refused, by Meta's code. Action: 130429 means the dispatcher sends faster than the number may.",
    ["code"],
)
WEBHOOK_UPDATES = Counter(
    "harkara_simulator_webhook_updates_total",
    "Updates (statuses, inbound messages): delivered, or dropped after the last try. Action on dropped: look at the "
    "receiver, its statuses are lost.",
    ["result"],
)
WEBHOOK_PENDING = Gauge(
    "harkara_simulator_webhook_pending",
    "Updates not yet answered with 200, those not yet due included. Action when it grows: the receiver is too slow.",
)
