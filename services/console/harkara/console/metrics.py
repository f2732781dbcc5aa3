"""Every metric of the console, with its meaning and what an operator does about it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ROWS = Counter(
    "harkara_console_rows_total",
    "Rows handed to Postgres, by table. Standing still while messages flow: look at the console's lag and at Postgres.",
    ["table"],
)
DEAD_LETTERS = Counter(
    "harkara_console_dead_letters_total",
    "Records seen on a DLQ, by topic. Growing: runbook dlq-growing (read the reason on the console's page).",
    ["topic"],
)
UNREADABLE = Counter(
    "harkara_console_unreadable_total",
    "Records that the console itself could not read or store, by topic. Should be 0: a writer broke its schema.",
    ["topic"],
)
WRITE_SECONDS = Histogram(
    "harkara_console_write_seconds",
    "One SQL transaction of the read side. Above 1 s: Postgres is slow (locks, disk, connection).",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
DATABASE_UP = Gauge(
    "harkara_console_database_up",
    "1 while Postgres answers the console. 0: sending goes on, the page and the query API do not; see to Postgres.",
)
LIVE_CLIENTS = Gauge(
    "harkara_console_live_clients",
    "Pages that watch /events now. At the setting's bound, further ones are told to come back later.",
)
ERASURES = Counter(
    "harkara_console_erasures_total",
    "Persons taken out of the read side, by name; again each time it is filled again. Follows what people ask for.",
)
LIVE_DROPPED = Counter(
    "harkara_console_live_dropped_total",
    "Times that a watching page read too slowly and was told to fetch the view instead. Growing fast: a bad network.",
)
COMMANDS = Counter(
    "harkara_console_commands_total",
    "Commands that operators gave through the console, by kind (halt, cancel_message, ...). The audit log has who.",
    ["kind"],
)
