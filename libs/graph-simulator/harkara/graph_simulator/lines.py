"""A number while it runs, and one well-formed send of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from harkara.graph_simulator.bodies import JsonObject
from harkara.graph_simulator.limits import Attempts, SlidingSecond
from harkara.graph_simulator.world import NumberSpec, TemplateSpec, WabaSpec


@dataclass(slots=True)
class Line:
    """A number with its account and what it has used of its limits. `upgrading_until`: 131057 while it lasts."""

    number: NumberSpec
    waba: WabaSpec
    second: SlidingSecond
    registrations: Attempts = field(default_factory=Attempts)
    upgrading_until: float = 0.0
    service_by_month: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Send:
    """One send that is well formed: who to, with which template, and whether their window is open."""

    body: JsonObject
    recipient: str
    template: TemplateSpec | None
    window_open: bool

    @property
    def marketing(self) -> bool:
        """Whether it is a template of marketing."""
        return self.template is not None and self.template.category == "MARKETING"
