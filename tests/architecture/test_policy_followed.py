"""Whoever reads governance.yaml watches it: a change is taken up, or refused aloud, never passed over in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APPS = sorted(ROOT.glob("services/*/harkara/*/app.py"))
READERS = [path for path in APPS if "settings.governance_file" in path.read_text(encoding="utf-8")]


def test_the_readers_are_found() -> None:
    assert len(READERS) >= 8, [path.parent.name for path in READERS]


@pytest.mark.req("OPS-8")
@pytest.mark.parametrize("path", READERS, ids=lambda path: path.parent.name)
def test_who_reads_the_policy_watches_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "PolicyWatch(" in text and "PolicyFile(settings.governance_file, " in text, f"{path} does not look again"
    assert "needs_restart" in text, f"{path} does not say what it cannot take up"
