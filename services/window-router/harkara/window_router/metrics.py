"""Every metric of the router, with its meaning and what an operator does about it."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge

DECISIONS = Counter(
    "harkara_window_router_decisions_total",
    "Cleared intents routed, by the form tried first (session, template) or the refusal's code. Many `window_closed`: "
    "a producer sends free-form messages to people who have not written; it needs a fallback template. Many "
    "`content_repeats_template`: it sends as text what Meta refused as a template, or has in a dearer category.",
    ["outcome"],
)
FALLBACKS = Counter(
    "harkara_window_router_fallbacks_total",
    "Fallback contents planned, by form (session, template) or why there is no way for one (refused:<code>): such a "
    "message goes without. Many `refused`: a producer's fallback template is not approved, or its values do not fit.",
    ["outcome"],
)
decided = lru_cache(maxsize=200)(DECISIONS.labels)
"""The counter of an outcome: finding it anew takes longer than counting."""
WINDOWS = Gauge(
    "harkara_window_router_open_windows",
    "Customer service windows held in memory, about 200 bytes each; closed ones are swept out when they double.",
)
