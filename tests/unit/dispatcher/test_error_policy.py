"""Every code of Meta's list, carried out by a lane: what becomes of the message, who is held until when, who is told.

A code comes as the answer to a call, or by a status after Meta had accepted it: the message is done then, and all else
is the same.

The table says what an operator may rely on, in the lane's own words; it is written by hand from Meta's error page
(libs/graph-api error_codes.json) and this project's rules, not computed from the policy under test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import httpx
import pytest
from prometheus_client import REGISTRY

from harkara.contracts.intents import DispatchOrder
from harkara.contracts.numbers import NumberEvent
from harkara.contracts.templates import TemplateEvent
from harkara.dispatcher.inbox import EchoArrived
from harkara.dispatcher.observe import count_entries
from harkara.dispatcher.settle import settle
from harkara.dispatcher.statuses import Statuses
from harkara.graph_api.errors import error_table
from harkara.graph_api.outcome import Outcome, Refused, classify_response
from tests.unit.dispatcher.lanes import ACCEPTED, ONE, START, THREE, TWO, HandDriven, order

OTHER_WABA, OTHER_PORTFOLIO = "100000000000014", "100000000000015"
NUMBER = "number"
TOKEN = "token"
WABA = "waba"
PORTFOLIO = "portfolio"
APP = "app"
SHARERS = {
    "": (),
    NUMBER: (ONE,),
    TOKEN: (ONE, TWO),
    WABA: (ONE, TWO, THREE),
    PORTFOLIO: (ONE, TWO, THREE, OTHER_WABA),
    APP: (ONE, TWO, THREE, OTHER_WABA, OTHER_PORTFOLIO),
}
FOREVER = float("inf")
"""Until an operator resumes."""


@dataclass(frozen=True)
class Row:
    """`message`: its status after the refusal. `held`: whom; `seconds`: how long (retries: the first delay, which
    jitter makes up to a quarter longer). `spent`: the call counts to the three. `slowed`: the number's rate is cut."""

    codes: str
    message: str
    held: str = ""
    seconds: float | None = None
    spent: bool = False
    event: str | None = None
    alert: bool = False
    slowed: bool = False


FAILED, KEPT, RETRIED, DOUBTED = "failed_unsent", "held", "retrying", "in_doubt"

TABLE = (
    # The token is refused: it and all that is sent with it, until someone has looked.
    Row("0 102 104 190", KEPT, TOKEN, FOREVER, event="halted", alert=True),
    # The account may not, or not any more.
    Row("3 10 200-299 131005", KEPT, WABA, FOREVER, event="halted", alert=True),
    Row("368 131031 131042 131044 141006 141014", KEPT, WABA, FOREVER, event="halted", alert=True),
    Row("131064", KEPT, PORTFOLIO, FOREVER, event="halted", alert=True),
    # The number may not.
    Row("33 131037 131045 133006 133010 133016", KEPT, NUMBER, FOREVER, event="halted", alert=True),
    # Too much of something: half an hour's rest for all that it counts for.
    Row("4 17 341 613", KEPT, APP, 1800.0, event="rate_limited", alert=True),
    Row("80007", KEPT, WABA, 1800.0, event="rate_limited", alert=True),
    Row("131048", KEPT, NUMBER, 1800.0, event="rate_limited", alert=True),
    Row("131057 2494100", KEPT, NUMBER, 120.0, event="rate_limited"),
    Row("133015", RETRIED, NUMBER, 300.0, spent=True, event="rate_limited"),
    # Too fast: slower, nothing else.
    Row("130429 2494055", "queued", slowed=True),
    Row("131056", RETRIED, "pair", 1.0, spent=True),
    # A template that does not go now.
    Row("131063 132007 132015 132016 132068 134102 141002", KEPT, "template", 3600.0, alert=True),
    Row("132001", KEPT, "template", 600.0, spent=True, alert=True),
    Row("132069", KEPT, "template", 3600.0, spent=True),
    Row("134101", KEPT, "template", 600.0, spent=True),
    # Meta is unwell, and says that it did not take the message; or does not say so.
    Row("131016 133004", RETRIED, seconds=1.0, spent=True),
    Row("1 2 131000", DOUBTED, spent=True),
    # This message, for good.
    Row("131047", FAILED),
    Row("130403 130472 131021 131026 131030 131050 131062 137000", FAILED),
    # And the person gets no marketing for a day.
    Row("131049", FAILED, "recipient", 86_400.0),
    Row("100 506 130501 131008 131009 131020 131041 131051 131055 131059", FAILED),
    Row("131014 131052 131053 132000 132005 132008 132012 132018 134100", FAILED),
    Row("133000 133005 133008 133009 138000-138025 139000-139004 139100-139103 141010 147001-147005", FAILED),
    Row("2388001 2388012 2388019 2388023 2388024 2388039 2388040 2388047 2388072 2388073", FAILED),
    Row("2388091 2388093 2388103 2388293 2388299 200005-200007 2593107 2593108 1752041", FAILED),
    # The same, and someone should look.
    Row("130497 131060 133001 133002 133003 133007 133011-133014 134011 135000", FAILED, alert=True),
)


def codes_of(words: str) -> list[int]:
    """ "3 200-202" as 3, 200, 201, 202."""
    ends = [tuple(map(int, word.split("-"))) for word in words.split()]
    return [code for pair in ends for code in range(pair[0], pair[-1] + 1)]


ROWS = {code: row for row in TABLE for code in codes_of(row.codes)}


def answer(code: int | None, status: int = 400, subcode: int | None = None) -> Outcome:
    """What the client makes of Meta's error body; without a code, of a body that is not Meta's."""
    error = {"code": code} if subcode is None else {"code": code, "error_subcode": subcode}
    body = b"<html>no</html>" if code is None else json.dumps({"error": error}).encode()
    return classify_response(status, httpx.Headers(), body)


def lane_of_five() -> HandDriven:
    """Two numbers of one token, a third of their account, one of their portfolio, one of none of these."""
    lane = HandDriven(capacity=1)
    own = replace(lane.fleet[ONE], portfolio_id="p")
    lane.fleet.update({number: replace(lane.fleet[number], portfolio_id="p") for number in (ONE, TWO, THREE)})
    lane.fleet[OTHER_WABA] = replace(own, phone_number_id=OTHER_WABA, waba_id="waba-2", token="c")
    lane.fleet[OTHER_PORTFOLIO] = replace(
        own, phone_number_id=OTHER_PORTFOLIO, waba_id="waba-3", token="d", portfolio_id="q"
    )
    return lane


def check(lane: HandDriven, outcome: Outcome, row: Row) -> None:
    """One message is called, this is the answer, and the row is what the lane does."""
    lane.take(order(), order("message-2"))
    lane.write(lambda scribe: settle(scribe, lane.around, "message-1", 1, outcome))
    message = lane.state.messages.get("message-1")
    assert lane.status() == row.message
    assert (message is None) == (row.message == FAILED)
    if message is not None:
        assert bool(message.spent) == row.spent
    until = START + (row.seconds or 0.0)
    held = check_whom(lane, row)
    if row.seconds == FOREVER:
        assert set(held.values()) == {None}
    elif row.message == RETRIED:
        assert message is not None and message.until is not None
        assert until <= message.until <= START + 1.25 * (row.seconds or 0.0)
        assert all(each == message.until for each in held.values())
    elif row.seconds is not None:
        assert set(held.values()) == {until}
    check_told(lane, row)
    assert any((entry.data or {}).get("alert") for entry in lane.journal) == row.alert
    dead = [each for each in lane.emissions() if isinstance(each.event, DispatchOrder)]
    assert len(dead) == (row.message == FAILED)
    check_slowed_and_stopped(lane, row)


def check_whom(lane: HandDriven, row: Row) -> dict[tuple[str, str], float | None]:
    """Those that the row names are held, and nobody else; until when each."""
    held = {(scope, target): hold.until for (scope, target), hold in lane.state.holds.items()}
    held |= {("recipient", line): hold.until for line, hold in lane.state.spared.items()}
    if row.held in SHARERS:
        assert {target for _, target in held} == set(SHARERS[row.held])
    else:
        person = "person of message-1"
        target = {"pair": f"{ONE}/{person}", "recipient": person, "template": "waba-1/daily_update:en"}[row.held]
        assert set(held) == {(row.held, target)}
    return held


def check_told(lane: HandDriven, row: Row) -> None:
    """The world is told of every number once."""
    events = [each.event for each in lane.emissions() if isinstance(each.event, NumberEvent)]
    told = {each.phone_number_id for each in events if each.kind == row.event}
    assert told == (set(SHARERS[row.held]) if row.event else set())
    assert len(events) == len(told)
    refusals = [each.event for each in lane.emissions() if isinstance(each.event, TemplateEvent)]
    assert len(refusals) == (row.held == "template")


def check_slowed_and_stopped(lane: HandDriven, row: Row) -> None:
    """The number's pace, and whether its next message goes at once."""
    assert any(entry.kind == "throttle" for entry in lane.journal) == row.slowed
    lane.round()
    stopped = (row.held in SHARERS and row.held != "") or row.held == "template" or row.slowed
    assert len(lane.attempts) == (1 if stopped else 2)


def check_by_status(lane: HandDriven, code: int, row: Row) -> None:
    """Meta accepts one message and says by a status, twice, that it failed: the row, but for the message itself."""
    lane.take(order(), order("message-2"))
    lane.write(lambda scribe: settle(scribe, lane.around, "message-1", 1, ACCEPTED))
    failure = EchoArrived("message-1", 1, "wamid.A", ONE, START, code, person_key="person of message-1")
    barred: list[tuple[str, int | None, float | None]] = []

    def bar(number: str, outcome: Refused, since: float | None = None) -> None:
        barred.append((number, outcome.error.code, since))

    statuses, asked_before = Statuses(bar), asked_to_look(code)
    for _ in range(2):
        count_entries(lane.write(lambda scribe: statuses.take(scribe, lane.around, failure)))
    assert lane.status() == "submitted" and "message-1" not in lane.state.messages, "Meta had it: it is not sent again"
    held = check_whom(lane, row)
    ends_at = None if row.seconds == FOREVER else START + (row.seconds or 0.0)
    assert set(held.values()) <= {ends_at}
    check_told(lane, row)
    assert barred == ([(ONE, code, START)] if row.held in SHARERS and row.held and row.message == KEPT else [])
    assert asked_to_look(code) - asked_before == row.alert
    check_slowed_and_stopped(lane, row)


def asked_to_look(code: int) -> float:
    """How often somebody was asked to look at this code."""
    return REGISTRY.get_sample_value("harkara_dispatcher_alerts_total", {"code": str(code)}) or 0.0


@pytest.mark.req("B6", "DSP-13", "DSP-14", "DSP-12")
def test_the_table_has_every_code_of_metas_list_once() -> None:
    assert set(ROWS) == set(error_table())
    assert sum(len(codes_of(row.codes)) for row in TABLE) == len(ROWS)


@pytest.mark.req("B6", "DSP-13", "DSP-14", "DSP-12", "DSP-15")
@pytest.mark.parametrize("code", sorted(ROWS))
def test_every_code_does_what_the_table_says(code: int) -> None:
    check(lane_of_five(), answer(code), ROWS[code])


@pytest.mark.req("B6", "DSP-13", "DSP-14", "DSP-12")
@pytest.mark.parametrize("code", sorted(ROWS.keys() - {0}))
def test_a_status_holds_and_tells_as_an_answer_does(code: int) -> None:
    check_by_status(lane_of_five(), code, ROWS[code])


@pytest.mark.parametrize(("code", "alert"), [(0, False), (999_999, True)])
def test_a_status_without_a_code_or_with_one_never_seen_holds_nobody(code: int, alert: bool) -> None:
    check_by_status(lane_of_five(), code, Row("", FAILED, alert=alert))


@pytest.mark.req("B6")
@pytest.mark.parametrize(
    ("code", "status", "subcode", "row"),
    [
        (100, 400, 33, Row("", KEPT, NUMBER, FOREVER, event="halted", alert=True)),  # deleted, or not ours to see
        (100, 400, 2388072, Row("", FAILED)),
        (100, 400, 123, Row("", FAILED)),
        (190, 400, 463, Row("", KEPT, TOKEN, FOREVER, event="halted", alert=True)),
        (130429, 429, 2494055, Row("", "queued", slowed=True)),
        (999_999, 400, None, Row("", FAILED, alert=True)),  # never seen: never again, and someone looks
        (999_999, 401, None, Row("", KEPT, TOKEN, FOREVER, event="halted", alert=True)),
        (999_999, 403, None, Row("", KEPT, TOKEN, FOREVER, event="halted", alert=True)),
        (999_999, 500, None, Row("", DOUBTED, spent=True)),
        (3, 500, None, Row("", KEPT, WABA, FOREVER, event="halted", alert=True)),  # documented with 500, not transient
        (None, 401, None, Row("", KEPT, TOKEN, FOREVER, event="halted", alert=True)),
        (None, 403, None, Row("", KEPT, TOKEN, FOREVER, event="halted", alert=True)),
        (None, 302, None, Row("", KEPT, NUMBER, FOREVER, event="halted", alert=True)),
        (None, 404, None, Row("", KEPT, NUMBER, FOREVER, event="halted", alert=True)),
        (None, 407, None, Row("", KEPT, NUMBER, FOREVER, event="halted", alert=True)),
        (None, 400, None, Row("", FAILED, alert=True)),
        (None, 413, None, Row("", FAILED, alert=True)),
        (None, 408, None, Row("", DOUBTED, spent=True)),
        (None, 429, None, Row("", "queued", slowed=True)),
        (None, 200, None, Row("", DOUBTED, spent=True)),
        (None, 500, None, Row("", DOUBTED, spent=True)),
        (None, 502, None, Row("", DOUBTED, spent=True)),
        (None, 503, None, Row("", DOUBTED, spent=True)),
        (None, 504, None, Row("", DOUBTED, spent=True)),
    ],
)
def test_subcodes_unknown_codes_and_answers_without_a_graph_error(
    code: int | None, status: int, subcode: int | None, row: Row
) -> None:
    check(lane_of_five(), answer(code, status, subcode), row)
