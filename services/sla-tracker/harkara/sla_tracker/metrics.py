"""Every metric of sla-tracker, with its meaning and what an operator does. Gauges name the 50 newest runs."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

EXPECTED = Gauge("harkara_sla_tracker_run_expected", "Recipients of the run as accepted.", ["run_id"])
DELIVERED = Gauge(
    "harkara_sla_tracker_run_delivered",
    "Messages of the run that reached their person. Standing still before the deadline: look at the queues, then at "
    "the numbers' states.",
    ["run_id"],
)
ON_TIME = Gauge(
    "harkara_sla_tracker_run_on_time",
    "Messages of the run that reached their person by its deadline (no deadline: all that reached).",
    ["run_id"],
)
ENDED = Gauge(
    "harkara_sla_tracker_run_ended",
    "Messages of the run after which nothing more is expected. The rest is under way, or the phone is off.",
    ["run_id"],
)
ON_TIME_RATIO = Gauge(
    "harkara_sla_tracker_run_on_time_ratio",
    "Share of the recipients reached by the deadline, 0 to 1. Below 0.99 at the deadline: the promise is broken; the "
    "console shows the reasons.",
    ["run_id"],
)
LEFT_SECONDS = Gauge(
    "harkara_sla_tracker_run_left_seconds",
    "Seconds until the run's deadline; negative after it. With the ratio it says whether the run will make it.",
    ["run_id"],
)
EVENTS = Counter(
    "harkara_sla_tracker_events_total",
    "SLA events written, by kind. `deadline_passed` with a low ratio: see the run in the console.",
    ["kind"],
)
UNATTRIBUTED = Gauge(
    "harkara_sla_tracker_unattributed_messages",
    "Messages whose run is not known yet; after an hour they count as having none. Large for long: policy events are "
    "missing from message-lifecycle.",
)
JOINED_BY_WAMID = Counter(
    "harkara_sla_tracker_joined_by_wamid_total",
    "Statuses without callback data that found their message by its wamid. Growing fast: Meta no longer echoes "
    "biz_opaque_callback_data.",
)
WAITING = Gauge(
    "harkara_sla_tracker_waiting",
    "Statuses without callback data that wait under their wamid for their message; a run's counts are short by those "
    "of its own. Above 1,000: see message-state's figure of the same name.",
)
UNCOUNTED = Counter(
    "harkara_sla_tracker_uncounted_statuses_total",
    "Statuses that are counted for no run, by cause: `unnamed` have neither message id nor wamid, `expired` waited 7 "
    "days for their message (normal for messages that are not ours or of no run), `full` came while 100,000 wamids of "
    "their partition waited.",
    ["cause"],
)
