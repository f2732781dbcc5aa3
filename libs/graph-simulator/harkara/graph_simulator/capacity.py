"""What limits a send: the number's throughput, the pair, the portfolio's messaging limit."""

from __future__ import annotations

from harkara.graph_simulator.limits import PairLimits, PortfolioPeople
from harkara.graph_simulator.lines import Line, Send
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.scenario import Scenario
from harkara.graph_simulator.windows import WINDOW_SECONDS
from harkara.graph_simulator.world import TIER_PEOPLE, World


class Capacity:
    """What numbers and portfolios have used of their limits."""

    def __init__(self, world: World) -> None:
        self._pairs = PairLimits()
        self._portfolios: dict[str, PortfolioPeople] = {waba.portfolio: PortfolioPeople() for waba in world.wabas}

    def refusal(self, line: Line, send: Send, scenario: Scenario, now: float) -> Refusal | None:
        """130429, 131056, or the scenario's code for the messaging limit; None counts the message into all three."""
        number, status = line.number, scenario.rate_limit_status
        if scenario.enforce_throughput and not line.second.take(now, number.most_per_second):
            return Refusal(130429, http_status=status, retry_after_seconds=scenario.retry_after_seconds)
        if scenario.enforce_pair_limit and not self._pairs.take(number.phone_number_id, send.recipient, now):
            return Refusal(131056, http_status=status, retry_after_seconds=scenario.retry_after_seconds)
        people = TIER_PEOPLE.get(number.messaging_limit)
        if (
            people is not None
            and scenario.enforce_messaging_limit
            and send.template is not None
            and not send.window_open
        ):
            day = WINDOW_SECONDS / scenario.time_scale
            if not self._portfolios[line.waba.portfolio].take(send.recipient, now, people, day):
                return Refusal(scenario.messaging_limit_code, "The messaging limit of the portfolio has been reached.")
        return None
