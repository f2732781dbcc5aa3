"""When the statuses of an accepted message go out."""

from __future__ import annotations

from harkara.graph_simulator.ledger import Entry
from harkara.graph_simulator.lines import Line
from harkara.graph_simulator.outbox import Outbox
from harkara.graph_simulator.people import People
from harkara.graph_simulator.scenario import Fate, FateChooser, Fault, Scenario
from harkara.graph_simulator.statuses import Shape, status_update


class Delivery:
    """Puts statuses into the outbox, each at its time."""

    def __init__(self, outbox: Outbox, people: People) -> None:
        self._outbox = outbox
        self._people = people

    def schedule(self, line: Line, entry: Entry, fate: Fate, fates: FateChooser) -> None:
        """Every status of the fate at its time; delays count from the answer (accepted + latency)."""
        if self._outbox.routes.nowhere:
            return
        scenario = fates.scenario
        answered_at = entry.accepted_at_ms / 1000 + scenario.latency_ms / 1000
        early = fate.fault is Fault.STATUS_FIRST
        steps = list(fate.steps)
        if fate.shuffled:
            fates.shuffle(steps)
        person = self._people.get(entry.to)
        hidden = person is not None and person.username_only
        shape = Shape(scenario.payload_version, hidden, _free(line, entry, scenario))
        at = answered_at
        for step, moment in zip(steps, fate.steps, strict=True):  # shuffled: another status at the same moments
            at = answered_at if early else max(at, answered_at + fates.delay_seconds(_wait_ms(moment.at, scenario)))
            update = status_update(line.waba.id, line.number, entry, fate, step, at, shape)
            for _ in range(fate.copies):
                self._outbox.schedule(update, at)


def _free(line: Line, entry: Entry, scenario: Scenario) -> bool:
    """Whether a service message is among the free ones of its number and month of 30 days."""
    if entry.category != "service":
        return False
    month = entry.accepted_at_ms // 2_592_000_000
    line.service_by_month[month] += 1
    return line.service_by_month[month] <= scenario.free_service_messages


def _wait_ms(moment: str, scenario: Scenario) -> float:
    read_ms = scenario.delivered_ms + scenario.read_ms
    return {
        "sent": scenario.sent_ms,
        "delivered": scenario.delivered_ms,
        "read": read_ms,
        "hold": scenario.hold_ms,
        "late": scenario.late_ms,
    }[moment]
