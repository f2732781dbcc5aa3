"""Renders the reference from the table, so that it cannot be out of date."""

from __future__ import annotations

from harkara.contracts.topics import STREAMS, TOPICS, UPSTREAM, Topic

OUTSIDE = {UPSTREAM: "upstream"}


def topics_markdown() -> str:
    """`docs/reference/topics.md`: the table and the picture."""
    lines = [
        "# Topics",
        "",
        "Generated from `harkara.contracts.topics` by `make docs`. Every topic has the same number of partitions and",
        "is partitioned as named; on compacted topics the key is the entity. Topics marked * carry personal data,",
        "those marked ° pseudonyms of persons.",
        "",
        "| topic | events | key | partitioned by | kept | writers | readers |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(topic) for topic in TOPICS]
    return "\n".join([*lines, "", "## Who writes, who reads", "", "```mermaid", *_picture(), "```", ""])


def _row(topic: Topic) -> str:
    kept = (
        "compacted" if topic.compacted else "for ever" if topic.retention_days is None else f"{topic.retention_days} d"
    )
    events = "<br>".join(f"`{event.ce_type}`" for event in topic.events)
    mark = " *" if topic.personal_data else " °" if topic.pseudonyms else ""
    cells = (
        f"`{topic.name}`{mark}<br>{topic.about}", events, topic.key, topic.partitioned_by, kept,
        ", ".join(topic.writers), ", ".join(topic.readers),
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _picture() -> list[str]:
    """Mermaid: services are boxes, topics are rounded; urgent twins and DLQs are left out for sight."""
    lines = ["flowchart LR"]
    shown = [topic for topic in STREAMS if not topic.name.endswith("-urgent")]
    services = sorted({name for topic in shown for name in (*topic.writers, *topic.readers)})
    lines += [f"  {OUTSIDE.get(name, name)}[{name}]" for name in services]
    for topic in shown:
        node = f"t-{topic.name}"
        lines.append(f"  {node}([{topic.name}])")
        lines += [f"  {OUTSIDE.get(writer, writer)} --> {node}" for writer in topic.writers]
        lines += [f"  {node} --> {OUTSIDE.get(reader, reader)}" for reader in topic.readers]
    return lines
