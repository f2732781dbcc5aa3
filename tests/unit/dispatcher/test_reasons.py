"""Whatever a lane holds or ends a message for says so: rule, policy version, inputs, a sentence; and is made again."""

from __future__ import annotations

import ast
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harkara.dispatcher
from harkara.contracts.event import Decision
from harkara.contracts.lifecycle import MessageLifecycle
from harkara.contracts.numbers import NumberEvent
from harkara.dispatcher.holds import hold
from harkara.dispatcher.journal import Entry, decoded, encoded, instant
from harkara.dispatcher.projection import implied
from harkara.dispatcher.scribe import Scribe
from harkara.dispatcher.state import LaneState
from harkara.graph_api.outcome import NotSent
from harkara.policy import lane as lane_rules
from harkara.policy.explain import decided_again
from harkara.policy.lane_decisions import KINDS
from harkara.policy.lane_reasons import DECIDED, HAPPENED, META, NOT_SENT, told
from tests.unit.dispatcher.explained import MOST_BYTES
from tests.unit.dispatcher.explained import told as refusals_of
from tests.unit.dispatcher.lanes import ONE, START, HandDriven, iso, order, refused
from tests.unit.dispatcher.refusals import HOUR, PERSON, WAYS_THERE, after_a_word
from tests.unit.policy.cases import policy

POLICY = policy()
SOURCES, RULES = Path(str(harkara.dispatcher.__file__)).parent, Path(lane_rules.__file__)
PLACES = {"Wait": 0, "NoPlace": 0, "Over": 1, "doubt": 3}
"""Which argument is the reason."""


def last(lane: HandDriven) -> tuple[Entry, MessageLifecycle]:
    """The newest refusal, hold or end of `message-1`, and its entry."""
    found = [(entry, event) for entry in lane.journal for event in refusals_of(entry)]
    return [each for each in found if each[1].message_id == "message-1"][-1]


@pytest.mark.req("CMP-8", "B11", "DX-5")
@pytest.mark.parametrize("code", WAYS_THERE)
def test_each_says_rule_version_inputs_and_a_sentence_and_comes_out_the_same_again(code: str) -> None:
    _, event = last(WAYS_THERE[code]())
    reason, decision = event.reason, event.decision
    assert reason is not None and decision is not None
    assert reason.code == code and reason.rule and reason.text.endswith(".")
    assert reason.policy_version == decision.policy_version and decision.policy_version in ("0123456789ab", "tests")
    assert (decision.step, decision.at) == ("lane", event.at)
    assert decision.verdict == {"outcome": event.status, "code": code, "rule": reason.rule}
    kept = Decision.model_validate_json(decision.model_dump_json())
    again = decided_again(kept, POLICY)
    assert again.same and again.reason is not None and again.unreadable is None
    assert (again.reason.code, again.reason.rule, again.reason.policy_version) == (code, reason.rule, POLICY.version)


@pytest.mark.req("CMP-8", "B11")
def test_every_reason_that_a_lane_decides_by_is_in_the_table_and_there_is_a_way_to_it() -> None:
    assert {code for code in WAYS_THERE if not code.startswith(META)} == DECIDED.keys()
    assert {code for facts in KINDS.values() for code in facts.codes} - {META} == DECIDED.keys()
    assert not DECIDED.keys() & HAPPENED.keys()
    for code, (text, rule) in (DECIDED | HAPPENED).items():
        assert text.endswith(".") and " " in text and (rule is not None) == (code in DECIDED), code


def test_every_reason_in_the_code_is_in_the_table() -> None:
    """A reason that somebody adds is written in the dispatcher as a literal: as `reason=`, in a `Wait` or an `Over`, as
    a `reason` of an entry, or as the constant behind one of these."""
    found = {code for path in SOURCES.glob("*.py") for code in _reasons(ast.parse(path.read_text("utf-8")))}
    found |= _answers(ast.parse(RULES.read_text("utf-8")))
    assert {"expired", "no_route", "run_paused", "no_echo", "dry_run", "typing", "fallback_content"} <= found
    assert {"number_paused", "portfolio_limit", "token_refused_thrice", "no_send_time"} <= found
    unknown = {code for code in found if code not in DECIDED and code not in HAPPENED}
    assert unknown == set(), "say in harkara.policy.lane_reasons by which rule, and keep what decided it"


def _reasons(tree: ast.Module) -> set[str]:
    said: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "reason":
            said.append(node.value)
        elif isinstance(node, ast.Dict):
            said += [v for k, v in zip(node.keys, node.values, strict=True) if _literal(k) == "reason"]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PLACES:
            said += node.args[PLACES[node.func.id] :][:1]
    return _codes(said, _constants(tree))


def _answers(tree: ast.Module) -> set[str]:
    """What the pure rules answer; a standing of a person's becomes a reason by its prefix."""
    said = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value is not None]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    said += [node.args[0] for node in calls if isinstance(node.func, ast.Name) and node.func.id == "Obstacle"]
    standings = {"opted_out", "blocked"}
    return {f"consent_{code}" if code in standings else code for code in _codes(said, {})}


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            names = [each.id for each in ast.walk(node.targets[0]) if isinstance(each, ast.Name)]
            found |= dict(zip(names, node.value.elts, strict=True))
    return found


def _codes(said: list[ast.expr], constants: dict[str, ast.expr]) -> set[str]:
    values = [each for one in said for each in ((one.body, one.orelse) if isinstance(one, ast.IfExp) else (one,))]
    resolved = [constants.get(each.id, each) if isinstance(each, ast.Name) else each for each in values]
    return {code for each in resolved if (code := _literal(each)) is not None}


def _literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@pytest.mark.parametrize("code", WAYS_THERE)
def test_it_is_small_and_names_nobody_but_by_pseudonym(code: str) -> None:
    entry, event = last(WAYS_THERE[code]())
    assert entry.data is not None and event.decision is not None
    plain = {name: value for name, value in entry.data.items() if name not in ("went_by", "policy_version")}
    assert len(orjson.dumps(entry.data)) - len(orjson.dumps(plain)) < MOST_BYTES // 2
    said = event.decision.model_dump_json()
    assert "+91" not in said and "9999950050" not in said and "Asha" not in said and "Good morning" not in said


@pytest.mark.parametrize("code", WAYS_THERE)
def test_whoever_takes_the_lane_tells_the_same_and_an_entry_of_before_tells_no_less_than_it_did(code: str) -> None:
    entry, event = last(WAYS_THERE[code]())
    read = decoded(entry.key.encode(), encoded(entry))
    assert implied(read) == implied(entry) != []
    assert read.data is not None
    old = read._replace(data={k: v for k, v in read.data.items() if k not in ("went_by", "policy_version")})
    (before,) = refusals_of(old)
    (now,) = [each.id for each in implied(entry) if each.event == event]
    assert now in [each.id for each in implied(old) if each.event == before]
    assert before.decision is None and before.reason is not None and event.reason is not None
    assert before.reason == event.reason.model_copy(update={"policy_version": None})
    assert (before.status, before.attempt, before.hold_until) == (event.status, event.attempt, event.hold_until)


def test_the_journal_of_a_message_that_goes_does_not_grow() -> None:
    lane = HandDriven()
    lane.take(order())
    assert lane.steps() == ["queued", "attempting"]
    assert not [entry for entry in lane.journal if entry.data and {"went_by", "policy_version"} & entry.data.keys()]


@pytest.mark.req("CMP-8", "B11")
def test_the_inputs_say_what_decided_it() -> None:
    """Some of each kind, as people read them."""

    def inputs(code: str) -> dict[str, object]:
        decision = last(WAYS_THERE[code]())[1].decision
        assert decision is not None
        return decision.inputs

    def at(seconds: float) -> str:
        return iso(START + seconds)

    assert inputs("cancelled") == {
        "kind": "cancel", "command": "cancel_recipient", "said_at": at(0), "received_at": at(0),
    }  # fmt: skip
    assert inputs("consent_paused") == {
        "kind": "consent", "purpose": "transactional", "person_key": PERSON, "received_at": at(0), "standing": "paused",
        "said_at": at(-HOUR), "source": "keyword", "until": at(HOUR), "answers": False,
    }  # fmt: skip
    assert inputs("consent_opted_out")["revoked_until"] == at(-HOUR)
    assert inputs("quiet_hours") == {"kind": "hours", "opens_at": at(HOUR), "closes_at": at(2 * HOUR)}
    assert inputs("no_send_time") == {"kind": "hours", "opens_at": at(-2 * HOUR), "closes_at": at(-HOUR)}
    assert inputs("window_closed") == {
        "kind": "ways", "ways": [{"number": ONE, "form": "session", "closes_at": at(-1)}],
    }  # fmt: skip
    assert inputs("number_paused") == {
        "kind": "number_state", "number": ONE, "verdict": "paused", "since": at(0), "until": at(HOUR),
    }  # fmt: skip
    assert inputs("portfolio_limit") == {
        "kind": "place", "portfolio": "portfolio-1", "limit": 250, "used": 250, "free_at": at(HOUR),
        "expires_at": at(24 * HOUR), "first": True, "in_hand": 0, "hopeful": False, "answered": True,
    }  # fmt: skip
    assert inputs("portfolio_limit_too_late")["expires_at"] == at(HOUR / 2)
    assert inputs("template_changed")["wrong"] == "its body takes 2 values, given are 1"
    assert inputs("template_paused") == {
        "kind": "template", "template": "daily_update:en", "waba_id": "waba-1", "status": "PAUSED", "since": at(-HOUR),
        "paused_until": at(HOUR), "category": "UTILITY", "paid_for": "utility",
    }  # fmt: skip
    pair = inputs("meta_131056")
    assert (pair["scope"], pair["target"], pair["person_key"]) == ("pair", ONE, PERSON)
    assert inputs("expired") == {"kind": "life", "expires_at": at(HOUR)}
    assert inputs("meta_131016") == {
        "kind": "refusal", "code": 131016, "error": "Service unavailable", "action": "retry", "keeps": False,
        "spends": True, "spent": 3,
    }  # fmt: skip


def test_of_a_long_plan_three_ways_are_kept_and_how_many_more_there_are() -> None:
    lane = HandDriven()
    lane.take(order(numbers=[ONE] * 40, form="session", valid_until=START - 1))
    _, event = last(lane)
    assert event.decision is not None and len(event.decision.inputs["ways"]) == 3
    assert event.decision.inputs["more"] == 37 and decided_again(event.decision, POLICY).same


@pytest.mark.req("CMP-8", "B10")
def test_an_opt_out_that_the_last_gate_saw_ends_the_message_with_what_it_saw() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.denials.update(after_a_word("opted_out")().denials)
    lane.answer(NotSent("consent_opted_out"))
    told_of = [each.event for each in lane.emissions() if isinstance(each.event, MessageLifecycle)]
    back = told_of[-2]
    assert back.reason is not None
    assert back.reason.code == f"{NOT_SENT}consent_opted_out" and back.reason.rule == "compliance.consent"
    assert back.reason.text.startswith("The call was not made after all. The person opted out")
    _, event = last(lane)
    assert (event.status, event.attempt) == ("cancelled", 2)
    assert event.decision is not None and event.decision.inputs["standing"] == "opted_out"


def test_what_keeps_a_call_back_has_a_sentence() -> None:
    for why in ("lease", "leaving", "stale", "barred", "superseded", "token", "connect", "pool", "closed"):
        assert told(NOT_SENT + why).text.startswith("The call was not made: ")
    assert told("of_a_newer_version") == ("of_a_newer_version", None)


def test_a_number_that_meta_stops_says_by_which_policy() -> None:
    lane = HandDriven()
    lane.take(order())
    lane.answer(refused(190, 401))
    halts = [each.event for each in lane.emissions() if isinstance(each.event, NumberEvent)]
    assert halts
    for event in halts:
        assert event.reason is not None
        assert (event.reason.rule, event.reason.policy_version) == ("error_policy", "0123456789ab")


@given(st.floats(1.8e9, 1.9e9))
def test_a_lane_reckons_in_the_times_that_are_kept(at: float) -> None:
    """Else a hold of which a fraction of a microsecond was left is over when the decision is made again."""
    scribe = Scribe(LaneState(), at)
    assert scribe.now == instant(at).timestamp()
    hold(scribe, "home", "number", "1", "rate_limited", at + 0.123)
    assert scribe.state.holds["number", "1"].until == instant(at + 0.123).timestamp()
