"""The trail of deliveries and actions is kept: five years are asked for (CMP-10), and nothing here takes rows out.

It leaves by somebody's hand alone: the topics keep 30 days, so a database that is lost without a backup is lost.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harkara.contracts.topics import AUDIT_LOG, MESSAGE_LIFECYCLE

CONSOLE = Path(__file__).parents[3] / "services" / "console" / "harkara" / "console"
TRAIL = ("audit", "message_events", "messages")
TAKES_OUT = re.compile(
    r"\b(?:DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|DROP\s+TABLE(?:\s+IF\s+EXISTS)?)\s+(\w+)", re.IGNORECASE
)


def taken_out() -> dict[str, list[str]]:
    """By table, the files with a statement that takes rows out of it."""
    found: dict[str, list[str]] = {}
    for path in sorted(each for each in CONSOLE.rglob("*") if each.suffix in (".py", ".sql")):
        for table in TAKES_OUT.findall(path.read_text(encoding="utf-8")):
            found.setdefault(table.lower(), []).append(path.name)
    return found


@pytest.mark.req("CMP-10")
@pytest.mark.parametrize("table", TRAIL)
def test_nothing_takes_rows_out_of_the_trail(table: str) -> None:
    assert table not in taken_out()


def test_what_is_looked_for_is_found() -> None:
    assert TAKES_OUT.findall("delete\n from audit WHERE x; TRUNCATE messages; drop table if exists runs") == [
        "audit", "messages", "runs",
    ]  # fmt: skip


def test_the_console_has_a_month_to_read_it() -> None:
    assert (AUDIT_LOG.retention_days, MESSAGE_LIFECYCLE.retention_days) == (30, 30)
    assert "console" in AUDIT_LOG.readers and "console" in MESSAGE_LIFECYCLE.readers
