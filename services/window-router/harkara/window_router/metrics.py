"""Every metric of the router, with its meaning and what an operator does about it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

DECISIONS = Counter(
    "harkara_window_router_decisions_total",
    "Cleared intents routed, by the form tried first (session, template) or the refusal's code. Many `window_closed`: "
    "a producer sends free-form messages to people who have not written; it needs a fallback template.",
    ["outcome"],
)
WINDOWS = Gauge(
    "harkara_window_router_open_windows",
    "Customer service windows held in memory, about 200 bytes each; closed ones are swept out when they double.",
)
