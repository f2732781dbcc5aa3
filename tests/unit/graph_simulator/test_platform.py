"""What the simulated platform does with what it accepted: limits, window, fates, statuses, ledger."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harkara.graph_simulator.bodies import new_wamid, wire_bytes
from harkara.graph_simulator.ledger import Entry, Ledger
from harkara.graph_simulator.limits import HourlyCalls, PairLimits, SlidingSecond
from harkara.graph_simulator.media import check_upload
from harkara.graph_simulator.outbox import Outbox, Post, Update
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.scenario import FATES, SUFFIXES, FateChooser, Scenario
from harkara.graph_simulator.simulator import WINDOW_CLOSED, Simulator, Verdict
from harkara.graph_simulator.world import load_world

PAYLOADS = Path(__file__).parents[2] / "fixtures" / "meta" / "payloads"
NUMBER, TOKEN = "100000000000001", "Bearer EAATEST-one"


class Platform:
    """A simulator with a clock that is moved by hand; nothing is really posted."""

    def __init__(self, ledger: Ledger | None = None, **scenario: Any) -> None:
        self.now = 1_795_156_200.0
        self.outbox = Outbox("http://127.0.0.1:9/hook", lambda: "secret", lambda: self.now, batch=1000)
        settings = Scenario(**({"window": "off", "jitter": 0} | scenario))
        self.sim = Simulator(load_world(None), settings, ledger or Ledger(), self.outbox, lambda: self.now)

    def send(self, to: str = "+919999900500", number: str = NUMBER, body: str = "x", **keys: Any) -> Any:
        message = {"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": body}, **keys}
        return self.sim.judge(number, "Bearer EAATEST-system-user", orjson.dumps(message))

    def send_template(self, to: str, name: str = "order_update", values: int = 2) -> Any:
        parameters = [{"type": "text", "text": "x"}] * values
        sent = {"name": name, "language": {"code": "en"}, "components": [{"type": "body", "parameters": parameters}]}
        message = {"messaging_product": "whatsapp", "to": to, "type": "template", "template": sent}
        return self.sim.judge(NUMBER, TOKEN, orjson.dumps(message))

    def code(self, *args: Any, **keys: Any) -> int | None:
        answer = self.send(*args, **keys)
        return answer.code if isinstance(answer, Refusal) else None

    def statuses(self, seconds: float = 3600) -> list[dict[str, Any]]:
        """Every status that goes out within that time, in order."""
        self.now += seconds
        posts = self.outbox._take_due()
        values = [change["value"] for post in posts for change in _changes(post)]
        return [status for value in values for status in value.get("statuses", [])]


def _changes(post: Post) -> list[dict[str, Any]]:
    return [change for entry in json.loads(post.raw)["entry"] for change in entry["changes"]]


def names(statuses: list[dict[str, Any]]) -> list[str]:
    return [status["status"] for status in statuses]


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_a_number_takes_its_throughput_in_any_second_and_no_more() -> None:
    platform = Platform(enforce_pair_limit=False)
    assert [platform.code() for _ in range(81)] == [None] * 80 + [130429]
    platform.now += 0.999
    assert platform.code() == 130429
    assert platform.code(number="100000000000002") is None, "the number beside it is not slowed"
    platform.now += 0.002
    assert platform.code() is None


@given(gaps=st.lists(st.floats(0, 0.4), min_size=1, max_size=200), limit=st.integers(1, 20))
def test_no_window_of_a_second_ever_holds_more_than_the_limit(gaps: list[float], limit: int) -> None:
    second, now, taken = SlidingSecond(), 0.0, []
    for gap in gaps:
        now += gap
        if second.take(now, limit):
            taken.append(now)
    for position, at in enumerate(taken):
        inside = [other for other in taken[position:] if other - at < 0.999999]
        assert len(inside) <= limit


def test_a_pair_takes_45_at_once_and_then_one_in_six_seconds() -> None:
    platform = Platform(enforce_throughput=False)
    assert [platform.code() for _ in range(46)] == [None] * 45 + [131056]
    assert platform.code(to="+919999900501") is None, "other recipients are not affected"
    platform.now += 6.01
    assert [platform.code(), platform.code()] == [None, 131056]
    platform.now += 45 * 6
    assert [platform.code() for _ in range(46)] == [None] * 45 + [131056]


def test_pairs_are_forgotten_only_when_whole() -> None:
    pairs = PairLimits(max_pairs=2)
    for _ in range(45):
        assert pairs.take("1", "a", 0.0)
    assert pairs.take("1", "b", 0.0)
    assert pairs.take("1", "c", 7.0)
    assert pairs.take("1", "a", 7.0)
    assert not pairs.take("1", "a", 7.0)


def test_management_calls_are_counted_by_the_hour() -> None:
    calls = HourlyCalls()
    assert [calls.take(0.0, 2), calls.take(1.0, 2), calls.take(2.0, 2), calls.take(3600.0, 2)] == [
        True,
        True,
        False,
        True,
    ]


def test_an_overloaded_platform_refuses_instead_of_forgetting() -> None:
    platform = Platform(ledger=Ledger(limit=1))
    assert [platform.code(), platform.code()] == [None, 131016]
    assert platform.sim.ledger.last_seq == 1


# ---- window ----------------------------------------------------------------------------------------------------------


def test_free_form_outside_the_window_is_accepted_and_fails_by_webhook() -> None:
    platform = Platform(window="webhook")
    assert isinstance(platform.send(), Verdict)
    (failed,) = platform.statuses()
    assert (failed["status"], failed["errors"][0]["code"]) == ("failed", 131047)
    assert isinstance(platform.send_template("+919999900500"), Verdict)
    assert "failed" not in names(platform.statuses())


def test_a_users_message_opens_the_window_for_24_hours() -> None:
    platform = Platform(window="sync")
    assert platform.code() == 131047
    platform.sim.receive(platform.sim.lines[NUMBER], "919999900500", {"type": "text", "text": {"body": "Hi"}}, "Asha")
    assert platform.code() is None
    platform.now += 86_401
    assert platform.code() == 131047


# ---- fates -----------------------------------------------------------------------------------------------------------

ENDS = {
    "0001": ["failed"], "0002": ["failed"], "0009": ["sent"], "0012": ["sent", "delivered"],
    "0013": ["sent", "read"], "0014": ["delivered", "read"], "0015": ["failed"], "0016": ["failed"],
    "0017": ["sent", "failed"], "0018": ["sent", "delivered", "failed"], "0029": ["failed"],
    "0030": ["sent", "delivered"], "0031": ["failed"], "0032": ["sent", "delivered", "read"],
    "0035": ["sent", "warning", "failed"], "0038": ["sent", "delivered", "read", "played"], "0046": ["failed"],
    "0004": ["sent", "delivered", "read"], "0006": ["sent", "delivered", "read"],
}  # fmt: skip


@pytest.mark.parametrize(("suffix", "wanted"), ENDS.items())
def test_the_suffix_decides_the_statuses(suffix: str, wanted: list[str]) -> None:
    platform = Platform()
    assert isinstance(platform.send_template(f"+91999990{suffix}"), Verdict)
    statuses = platform.statuses()
    assert names(statuses) == wanted
    for status in statuses:
        fate = SUFFIXES[suffix]
        codes = [error["code"] for error in status.get("errors", [])]
        assert codes == [step.error_code for step in fate.steps if step.status == status["status"] and step.error_code]


REFUSED = {suffix: fate for suffix, fate in SUFFIXES.items() if fate.refuse_code and fate.fault == "none"}


@pytest.mark.parametrize("suffix", REFUSED)
def test_the_suffix_refuses_once_or_always_and_nothing_of_it_is_in_the_ledger(suffix: str) -> None:
    fate, platform = REFUSED[suffix], Platform()
    to = f"+91999990{suffix}"
    assert platform.code(to=to) == fate.refuse_code
    assert platform.sim.ledger.last_seq == 0
    assert platform.sim.ledger.refused[fate.refuse_code or 0] == 1
    assert platform.code(to=to) == (None if fate.refuse_once else fate.refuse_code)
    if fate.free_form_only:
        assert isinstance(platform.send_template(to), Verdict)


def test_duplicates_come_three_times_and_out_of_order() -> None:
    platform = Platform()
    platform.send("+919999900007")
    order = names(platform.statuses())
    assert sorted(order) == sorted(["sent", "delivered", "read"] * 3)
    assert order[::3] != ["sent", "delivered", "read"]


def test_odd_shapes() -> None:
    platform = Platform()
    platform.send("+919999900033")
    assert len(platform.statuses()[0]["timestamp"]) == 13
    answer = orjson.loads(platform.send("+919999900034").body)
    assert answer["contacts"][0]["wa_id"] != "919999900034"
    assert platform.statuses()[0]["recipient_id"] == answer["contacts"][0]["wa_id"]
    platform.send("+919999900039", biz_opaque_callback_data="msg-00000001.1")
    assert all("biz_opaque_callback_data" not in status for status in platform.statuses())
    platform.send("+919999900040")
    assert all("recipient_id" not in status and status["recipient_user_id"] for status in platform.statuses())


def test_a_status_before_the_answer_is_due_at_once() -> None:
    platform = Platform(latency_ms=0)
    platform.send("+919999900006")
    assert names(platform.statuses(seconds=0)) == ["sent", "delivered", "read"]


def test_chances_are_seeded_and_near_their_probability() -> None:
    def draw(seed: int) -> list[str]:
        chooser = FateChooser(Scenario(seed=seed, fates={"response_lost": 0.1, "failed_131026": 0.2}))
        return [chooser.choose("919999912345").name for _ in range(2000)]

    first = draw(7)
    assert first == draw(7)
    assert first != draw(8)
    assert 140 < first.count("response_lost") < 260
    assert 320 < first.count("failed_131026") < 480


def test_a_number_may_force_a_fate_and_suffixes_may_be_switched_off() -> None:
    platform = Platform(magic_suffixes=False, read_probability=1)
    platform.send("+919999900001")
    assert names(platform.statuses()) == ["sent", "delivered", "read"]
    platform.sim.lines[NUMBER].number.fate = "stays_sent"
    platform.send("+919999900500")
    assert names(platform.statuses()) == ["sent"]


@pytest.mark.parametrize(
    "wrong", [{"fates": {"no_such": 0.1}}, {"fates": {"html_502": 0.6, "late": 0.6}}, {"latncy": 1}]
)
def test_a_wrong_scenario_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Scenario(**wrong)


def test_names_of_fates_are_unique() -> None:
    assert len(FATES) == len(SUFFIXES) + 1
    assert WINDOW_CLOSED.name not in FATES


# ---- webhooks and ledger ---------------------------------------------------------------------------------------------


def test_a_status_has_the_keys_of_metas_samples() -> None:
    platform = Platform(read_probability=1)
    platform.send_template("+919999900500")
    platform.now += 10
    posts = platform.outbox._take_due()
    by_status = {
        status["status"]: (status, change["value"])
        for post in posts
        for change in _changes(post)
        for status in change["value"]["statuses"]
    }
    for name in ("sent", "delivered", "read"):
        sample = json.loads((PAYLOADS / f"webhook_status_{name}.json").read_text(encoding="utf-8"))
        value = sample["entry"][0]["changes"][0]["value"]
        status, found = by_status[name]
        assert set(found) == set(value)
        assert set(status) == set(value["statuses"][0]) - {"biz_opaque_callback_data"}
        assert set(found["contacts"][0]) == set(value["contacts"][0])
    platform.send_template("+919999900001")
    (failed,) = platform.statuses()
    sample = json.loads((PAYLOADS / "webhook_status_failed_131026.json").read_text(encoding="utf-8"))
    wanted = sample["entry"][0]["changes"][0]["value"]["statuses"][0]
    assert set(failed) == set(wanted) - {"biz_opaque_callback_data"}
    assert set(failed["errors"][0]) == set(wanted["errors"][0])


def test_updates_of_one_account_go_in_one_post_and_failed_ones_have_no_contact() -> None:
    platform = Platform(read_probability=0)
    for last in range(10):
        platform.send_template(f"+9199999005{last:02d}")
    platform.send_template("+919999900001")
    platform.now += 60
    (post,) = platform.outbox._take_due()
    assert post.updates == 21
    for change in _changes(post):
        failed = {status["status"] == "failed" for status in change["value"]["statuses"]}
        assert failed == {"contacts" not in change["value"]}


def test_bytes_on_the_wire_are_escaped_as_meta_does() -> None:
    vector = json.loads((PAYLOADS / "signature_example.json").read_text(encoding="utf-8"))
    assert wire_bytes(json.loads(vector["raw_body"])) == vector["raw_body"].encode("ascii")


def test_wamids_have_the_observed_layout_and_never_repeat() -> None:
    sample = base64.b64decode("HBgMOTE5OTk5OTAwMDExFQIAERgSMkRBNkJGMUFCOEZDRjA5N0Y3AA==")
    made = base64.b64decode(new_wamid("919999900011").removeprefix("wamid."))
    assert len(made) == len(sample)
    assert made[:20] == sample[:20]
    assert made[-1] == 0
    assert len({new_wamid("919999900011") for _ in range(1000)}) == 1000
    inbound = base64.b64decode(new_wamid("919999900011", inbound=True).removeprefix("wamid."))
    assert inbound[18:21] == b"\x12\x18\x14"


def test_the_answer_of_a_send() -> None:
    platform = Platform()
    text, template = orjson.loads(platform.send().body), orjson.loads(platform.send_template("+919999900500").body)
    assert text["contacts"] == [{"input": "+919999900500", "wa_id": "919999900500"}]
    assert "message_status" not in text["messages"][0]
    assert template["messages"][0]["message_status"] == "accepted"
    assert orjson.loads(platform.send_template("+919999900030").body)["messages"][0]["message_status"].startswith(
        "held"
    )


def entry(seq: int, **changes: Any) -> Entry:
    row: dict[str, Any] = {
        "seq": seq, "accepted_at_ms": 1_795_156_200_000, "phone_number_id": NUMBER, "to": "919999900500",
        "wamid": f"wamid.{seq}", "opaque": "msg-00000001.1", "type": "text", "template": None, "category": "service",
        "fate": "read",
    }  # fmt: skip
    return Entry(**(row | changes))


def test_the_ledger_is_read_back_after_a_restart_even_with_a_cut_last_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger" / "accepted.jsonl"
    first = Ledger(path)
    for seq in (1, 2, 3):
        first.append(entry(seq))
    first.close()
    with path.open("ab") as cut:
        cut.write(b'{"seq":4,"acce')
    second = Ledger(path)
    assert second.page(0, 10) == [entry(1), entry(2), entry(3)]
    second.append(entry(4))
    second.close()
    assert [row.seq for row in Ledger(path).page(2, 10)] == [3, 4]


def test_the_ledger_is_paged() -> None:
    ledger = Ledger()
    for seq in range(1, 8):
        ledger.append(entry(seq))
    assert [row.seq for row in ledger.page(0, 3)] == [1, 2, 3]
    assert [row.seq for row in ledger.page(6, 3)] == [7]
    assert ledger.page(7, 3) == []


def test_after_a_restart_recent_statuses_are_sent_again_and_old_ones_are_not() -> None:
    ledger = Ledger()
    ledger.append(entry(1, accepted_at_ms=1_795_156_200_000 - 7_200_000))
    ledger.append(entry(2))
    platform = Platform(ledger=ledger)
    assert platform.sim.resume(FATES) == 1
    assert {status["id"] for status in platform.statuses()} == {"wamid.2"}


def test_uploads_are_checked_by_type_and_size() -> None:
    assert check_upload("image/jpeg", 5_000_000) is None
    for mime_type, size in (("image/bmp", 10), ("image/gif", 10), ("image/jpeg", 5_000_001), ("application/pdf", 0)):
        refusal = check_upload(mime_type, size)
        assert refusal is not None
        assert refusal.code == 100


def test_the_outbox_sends_nothing_without_a_url() -> None:
    outbox = Outbox(None, lambda: "secret", lambda: 0.0)
    line = load_world(None).wabas[0].numbers[0]
    outbox.schedule(Update("1", line, "statuses", {}), 0.0)
    assert outbox.pending == 0
