"""The loop over message-state that writes outcomes: each once, as far as this process remembers."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from harkara.contracts.lifecycle import MessageState
from harkara.contracts.topics import MESSAGE_OUTCOMES, MESSAGE_STATE
from harkara.outcome_notifier import metrics
from harkara.outcome_notifier.callbacks import PRODUCER_HEADER
from harkara.outcome_notifier.core import Memory, Told
from harkara.outcome_notifier.settings import Settings
from harkara.runtime.clock import Clock
from harkara.runtime.kafka import Output, RawOutput
from harkara.runtime.loop import Incoming, Loop


class Teller:
    """The decision of the loop: a state in, its news out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._memory = Memory()

    def tell(self, incoming: Incoming) -> list[Output]:
        """The outcomes that this state adds."""
        state = incoming.envelope.event
        assert isinstance(state, MessageState)  # the topic has no other kind
        return [_output(told, incoming) for told in self._memory.news(state, self._clock.now())]


class OutcomeLoop(Loop):
    """The at-least-once loop over a compacted topic: a message that is forgotten (a tombstone) tells nothing."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(settings, name="outcomes", topics=[MESSAGE_STATE], decide=Teller(clock).tell, clock=clock)

    def _outputs_of(self, record: ConsumerRecord) -> list[Output | RawOutput]:
        return [] if record.value is None else super()._outputs_of(record)


def _output(told: Told, incoming: Incoming) -> Output:
    """Its time is when the state was written: what is told late is not old news to the endpoint's repetitions."""
    outcome = told.outcome
    metrics.OUTCOMES.labels(outcome.kind).inc()
    return Output(
        MESSAGE_OUTCOMES,
        outcome.home,
        outcome.home,
        outcome,
        told.id,
        incoming.timestamp,
        subject=outcome.message_id,
        headers=[(PRODUCER_HEADER, (outcome.producer or "").encode())],
    )
