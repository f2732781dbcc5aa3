"""Writes what is generated under docs/reference: topics, reasons, the schemas of events and of governance.yaml."""

from __future__ import annotations

from pathlib import Path

from harkara.contracts import person_export, schemas
from harkara.contracts.reference import topics_markdown
from harkara.policy import lane_reference, schema


def write_all(folder: Path) -> list[Path]:
    """Every generated file under `folder`, written again; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "topics.md"
    page.write_text(topics_markdown(), encoding="utf-8")
    schemas.write_all(folder / "schemas")
    answers = person_export.write_schemas(folder)
    reasons = folder / lane_reference.FILE_NAME
    reasons.write_text(lane_reference.lane_reasons_markdown(), encoding="utf-8")
    policy = folder / schema.FILE_NAME
    policy.write_text(schema.schema_text(), encoding="utf-8")
    return [page, reasons, policy, *answers, *sorted((folder / "schemas").glob("*.json"))]
