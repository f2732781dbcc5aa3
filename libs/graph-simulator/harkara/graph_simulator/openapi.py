"""The Graph endpoints in the simulator's OpenAPI document: `graph.openapi.yaml`, read once and merged into its own."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def graph_document() -> dict[str, Any]:
    """`graph.openapi.yaml`: paths and components of the endpoints that are Meta's."""
    text = resources.files("harkara.graph_simulator").joinpath("graph.openapi.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def with_graph_paths(document: dict[str, Any]) -> dict[str, Any]:
    """The document of the control endpoints with the Graph's beside them."""
    graph, own = graph_document(), document.get("components", {})
    components = {
        name: {**graph["components"].get(name, {}), **own.get(name, {})} for name in {*graph["components"], *own}
    }
    paths = {**document["paths"], **graph["paths"]}
    return {**document, "info": {**document["info"], **graph["info"]}, "paths": paths, "components": components}
