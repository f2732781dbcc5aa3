"""Spam reports of people, and what they do to the quality of a template and of a number.

Meta's thresholds are not published: the scenario's are the simulator's own. A number bears twice as much as a template.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from harkara.graph_simulator import notices
from harkara.graph_simulator.bodies import JsonObject
from harkara.graph_simulator.scenario import Scenario
from harkara.graph_simulator.templates import TemplateBook
from harkara.graph_simulator.world import NumberSpec, Quality, TemplateSpec, WabaSpec


class Feedback:
    """Counts reports; RED starts the count of a template anew, so that the next pause needs as many again."""

    def __init__(self, templates: TemplateBook, tell: Callable[[str, str, JsonObject], None]) -> None:
        self._templates = templates
        self._tell = tell
        self._of_template: Counter[str] = Counter()
        self._of_number: Counter[str] = Counter()

    def reported(
        self, waba: WabaSpec, number: NumberSpec, template: TemplateSpec | None, scenario: Scenario, now: float
    ) -> None:
        """One person reported one message."""
        self._of_number[number.phone_number_id] += 1
        count = self._of_number[number.phone_number_id]
        found = _quality(count, 2 * scenario.reports_to_yellow, 2 * scenario.reports_to_red)
        if found is not None:
            self.set_number_quality(waba, number, found)
        if template is None:
            return
        self._of_template[template.id] += 1
        found = _quality(self._of_template[template.id], scenario.reports_to_yellow, scenario.reports_to_red)
        if found == "RED":
            self._of_template[template.id] = 0
        if found is not None:
            self._templates.set_quality(waba, template, found, now)

    def set_number_quality(self, waba: WabaSpec, number: NumberSpec, quality: Quality) -> None:
        """A new rating; FLAGGED and UNFLAGGED tell it."""
        if quality == number.quality:
            return
        number.quality = quality
        event = "FLAGGED" if quality == "RED" else "UNFLAGGED"
        self._tell(waba.id, "phone_number_quality_update", notices.number_quality(number, event))


def _quality(reports: int, yellow: int, red: int) -> Quality | None:
    if reports >= red:
        return "RED"
    return "YELLOW" if reports >= yellow else None
