"""What ingestion knows from compacted topics: how the queues stand, and which runs were accepted lately."""

from __future__ import annotations

from collections import OrderedDict

from harkara.contracts.event import Event
from harkara.contracts.numbers import NumberState, QueueState
from harkara.contracts.runs import SendRun
from harkara.contracts.topics import Topic

MOST_RUNS = 100_000  # remembered for repeated requests, the newest; 500 bytes each, more than a week of any client's


class Known:
    """The latest record of each key. Fed by a replica; read by the routes."""

    def __init__(self) -> None:
        self.queues: dict[str, QueueState] = {}
        self.numbers: dict[str, NumberState] = {}
        self.runs: OrderedDict[str, SendRun] = OrderedDict()

    def apply(self, topic: Topic, key: str, event: Event | None) -> None:
        """Take one record; the topic is told from the event. Numbers and queues are never tombstoned."""
        match event:
            case QueueState():
                queue = self.queues.get(event.phone_number_id)
                if queue is None or queue.updated_at <= event.updated_at:  # its topic may be read anew from the start
                    self.queues[event.phone_number_id] = event
            case NumberState():
                held = self.numbers.get(event.phone_number_id)
                if held is None or held.version <= event.version:
                    self.numbers[event.phone_number_id] = event
            case SendRun():
                self.remember(event)
            case _:
                self.runs.pop(key, None)

    def remember(self, run: SendRun) -> None:
        """A run that was accepted, here or elsewhere."""
        self.runs[run.run_id] = run
        self.runs.move_to_end(run.run_id)
        while len(self.runs) > MOST_RUNS:
            self.runs.popitem(last=False)
