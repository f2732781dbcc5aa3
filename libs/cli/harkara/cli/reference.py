"""Writes what is generated under docs/reference: the topics and the schemas of their events."""

from __future__ import annotations

from pathlib import Path

from harkara.contracts import schemas
from harkara.contracts.reference import topics_markdown


def write_all(folder: Path) -> list[Path]:
    """Every generated file under `folder`, written again; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "topics.md"
    page.write_text(topics_markdown(), encoding="utf-8")
    schemas.write_all(folder / "schemas")
    return [page, *sorted((folder / "schemas").glob("*.json"))]
