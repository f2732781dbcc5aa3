"""A template from its submission to its end: refusals, review, edits, pauses, categories, deletion."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from harkara.graph_simulator.agenda import Agenda
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.templates import CREATED_PER_HOUR, TemplateBook
from harkara.graph_simulator.world import TemplateSpec, WabaSpec, load_world

PAYLOADS = Path(__file__).parents[2] / "fixtures" / "meta" / "payloads"
Body = dict[str, Any]
HOUR, DAY = 3600.0, 86_400.0


class Account:
    """The book of the example world, a clock that is moved by hand, and what webhooks told."""

    def __init__(self, **waba: Any) -> None:
        self.now = 1_795_156_200.0
        self.told: list[tuple[str, Body]] = []
        world = load_world(None)
        self.waba: WabaSpec = world.wabas[0]
        for name, value in waba.items():
            setattr(self.waba, name, value)
        self.agenda = Agenda()
        self.book = TemplateBook(world, self.agenda, lambda _, field, value: self.told.append((field, value)))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.agenda.run_due(self.now)

    def create(self, **change: Any) -> Any:
        return self.book.create(self.waba, submitted(**change), self.now)

    def made(self, **change: Any) -> TemplateSpec:
        """Submitted, reviewed and approved."""
        answer = self.create(**change)
        assert isinstance(answer, dict), answer
        self.pass_time(5)
        spec = self.book.by_id(answer["id"])[1]
        assert spec is not None
        assert spec.status == "APPROVED"
        self.told.clear()
        return spec

    def events(self) -> list[str]:
        return [
            value.get("other_info", {}).get("title") or value["event"] for _, value in self.told if "event" in value
        ]


def submitted(**change: Any) -> Body:
    body: Body = json.loads((PAYLOADS / "graph_req_template_create.json").read_text(encoding="utf-8"))
    return copy.deepcopy(body | change)


def text(body: str, **example: Any) -> Body:
    return {"components": [{"type": "BODY", "text": body, **({"example": example} if example else {})}]}


ONE = {"body_text": [["x"]]}


def button(**change: Any) -> Body:
    return {"type": "URL", "text": "Track", "url": "https://shop.example.test/", **change}


def buttons(*found: Body) -> Body:
    return {"components": [{"type": "BODY", "text": "Hello there"}, {"type": "BUTTONS", "buttons": list(found)}]}


def header(**change: Any) -> Body:
    return {"components": [{"type": "HEADER", **change}, {"type": "BODY", "text": "Hello there"}]}


@pytest.mark.parametrize(
    ("change", "subcode"),
    [
        ({"name": "Order"}, None),
        ({"name": "x" * 513}, None),
        ({"language": "English"}, None),
        ({"category": "OTHER"}, None),
        ({"components": []}, 2388072),
        ({"colour": "red"}, None),
        ({"message_send_ttl_seconds": 29}, None),
        ({"category": "AUTHENTICATION", "message_send_ttl_seconds": 901}, None),
        (text("x" * 1025), 2388040),
        (text("{{1}} is here for you now", **ONE), 2388299),
        (text("Here for you now is {{1}}", **ONE), 2388299),
        (text("Hello {{1}} {{2}} .", body_text=[["a", "b"]]), 2388293),
        (text("Hello {{2}} my old friend", **ONE), 2388072),
        (text("Hello {{name}} my old friend", **ONE), 2388072),
        (text("Hello {{1}} my old friend"), 2388072),
        (text("Hello {{1} my old friend"), 2388072),
        (header(format="TEXT", text="x" * 61), 2388040),
        (header(format="TEXT", text="Hello {{1}}"), 2388047),
        (header(format="IMAGE"), 2388047),
        (header(format="IMAGE", example={"header_handle": ["5::x"]}), 2388047),
        (header(format="GIF"), 2388047),
        ({"components": [{"type": "BODY", "text": "Hello"}, {"type": "FOOTER", "text": "Hi {{1}}"}]}, 2388073),
        ({"components": [{"type": "BODY", "text": "Hello"}, {"type": "FOOTER", "text": "x" * 61}]}, 2388040),
        (buttons(*[button()] * 3), None),
        (buttons(*[{"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+919999900001"}] * 2), None),
        (buttons({"type": "QUICK_REPLY", "text": "x" * 26}), 2388040),
        (buttons(button(url="https://shop.example.test/{{1}}/x", example=["x"])), None),
        (buttons(button(url="https://shop.example.test/{{1}}")), None),
        (buttons(button(url="shop")), None),
        (buttons({"type": "QUICK_REPLY", "text": "a"}, button(), {"type": "QUICK_REPLY", "text": "b"}), None),
        (buttons(*[{"type": "QUICK_REPLY", "text": "a"}] * 11), None),
    ],
)  # fmt: skip
def test_what_meta_refuses_at_once(change: Body, subcode: int | None) -> None:
    answer = Account().create(**change)
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.subcode) == (100, subcode)
    assert (answer.user_title is not None) is (subcode is not None)


def test_a_body_with_just_words_enough_is_taken() -> None:
    assert isinstance(Account().create(**text("Hello {{1}} you {{2}} x", body_text=[["a", "b"]])), dict)


@pytest.mark.parametrize("name", ["graph_req_template_create", "graph_req_template_create_named"])
def test_metas_own_samples_are_taken_reviewed_and_told(name: str) -> None:
    account, body = Account(), json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    answer = account.book.create(account.waba, body, account.now)
    assert isinstance(answer, dict)
    assert (answer["status"], answer["category"]) == ("PENDING", body["category"])
    account.pass_time(5)
    ((field, value),) = account.told
    sample = json.loads((PAYLOADS / "webhook_template_status_approved.json").read_text(encoding="utf-8"))
    change = sample["entry"][0]["changes"][0]
    assert (field, set(value)) == (change["field"], set(change["value"]))
    assert (value["event"], value["message_template_name"]) == ("APPROVED", body["name"])


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        (text("Hello {{1}} {{2}}, my very old friend", body_text=[["a", "b"]]), "REJECTED", "INVALID_FORMAT"),
        (text("Look at bit.ly/abc today"), "REJECTED", "ABUSIVE_CONTENT"),
        ({"name": "order_reject"}, "REJECTED", "PROMOTIONAL"),
        ({"name": "order_slow"}, "PENDING", "NONE"),
        ({}, "APPROVED", "NONE"),
    ],
)  # fmt: skip
def test_the_review_decides_by_rule(change: Body, status: str, reason: str) -> None:
    account = Account()
    spec = account.book.by_id(account.create(**change)["id"])[1]
    account.pass_time(5)
    assert spec is not None
    assert (spec.status, spec.rejected_reason) == (status, reason)
    assert account.events() == ([] if status == "PENDING" else [status])


def test_a_twin_is_rejected_and_a_promotion_is_marketing() -> None:
    account = Account()
    account.made()
    account.create(name="order_dispatch_v4")
    account.pass_time(5)
    assert account.told[-1][1]["rejection_info"]["reason"]
    offer = account.create(name="an_offer", **text("Today: 20% off in all our shops"))
    assert offer["category"] == "MARKETING"
    assert account.create(name="at_once_instant")["status"] == "APPROVED"


def test_names_languages_and_numbers_of_templates_are_limited() -> None:
    account = Account()
    account.made()
    assert account.create().subcode == 2388024
    assert isinstance(account.create(language="hi"), dict), "another language is another template"
    for number in range(CREATED_PER_HOUR - 2):
        assert isinstance(account.create(name=f"more_{number}"), dict)
    assert account.create(name="one_more").code == 80007
    account.pass_time(HOUR)
    assert isinstance(account.create(name="one_more"), dict)
    small = Account(verified=False)
    full = {(f"t{number}", "en"): TemplateSpec(name=f"t{number}", language="en", body="x") for number in range(250)}
    small.book.by_account[small.waba.id] = full
    assert small.create().subcode == 2388019


def test_red_pauses_for_3_hours_then_6_then_for_good() -> None:
    account = Account()
    spec = account.made()
    for hours in (3, 6):
        account.book.set_quality(account.waba, spec, "RED", account.now)
        account.pass_time(hours * HOUR - 1)
        assert account.events()[-1].endswith("_PAUSE")
        account.pass_time(1)
        assert account.events()[-1] == "UNPAUSE"
    account.book.set_quality(account.waba, spec, "RED", account.now)
    assert spec.status == "DISABLED"
    assert account.events() == ["FIRST_PAUSE", "UNPAUSE", "SECOND_PAUSE", "UNPAUSE", "DISABLED"]
    scores = [value["new_quality_score"] for field, value in account.told if field == "message_template_quality_update"]
    assert scores == ["RED", "UNKNOWN"] * 2 + ["RED"]
    assert account.book.delete(account.waba, spec.name, [], account.now) is not None, "a disabled one cannot be deleted"


def test_time_scale_shortens_a_pause() -> None:
    account = Account()
    account.book.scale = 3600
    spec = account.made()
    account.book.set_quality(account.waba, spec, "RED", account.now)
    account.pass_time(3)
    assert spec.status == "APPROVED"


def test_only_a_pause_in_pacing_is_ended_by_hand() -> None:
    account = Account()
    spec = account.made()
    assert account.book.unpause(account.waba, spec, account.now)["success"] is False
    account.book.set_quality(account.waba, spec, "RED", account.now)
    assert account.book.unpause(account.waba, spec, account.now)["success"] is False
    account.pass_time(3 * HOUR)
    account.book.pause(account.waba, spec, account.now, in_pacing=True)
    account.pass_time(30 * DAY)
    assert account.events()[-1] == "RATE_LIMITING_PAUSE", "it has no end of its own"
    assert account.book.unpause(account.waba, spec, account.now) == {"success": True}
    assert spec.status == "APPROVED"


def test_an_edit_goes_to_review_again_once_a_day_and_ten_times_in_30_days() -> None:
    account = Account()
    spec = account.made()
    new = text("Hello {{1}}, your parcel is now on its way to you.", **ONE)

    def edit(body: Body) -> Refusal | None:
        return account.book.edit(account.waba, spec, body, account.now)

    assert edit(new) is None
    assert spec.status == "PENDING"
    refused = edit(new)
    assert refused is not None
    assert refused.subcode == 2388039, "a pending one cannot be edited"
    account.pass_time(5)
    assert (spec.status, spec.body_variables) == ("APPROVED", ("1",))
    assert account.told[-1][0] == "message_template_components_update"
    assert edit(new) is not None, "once in 24 hours"
    for _ in range(9):
        account.pass_time(DAY + 1)
        assert edit(new) is None
        account.pass_time(5)
    account.pass_time(DAY + 1)
    assert edit(new) is not None, "ten times in 30 days"
    account.pass_time(20 * DAY)
    assert edit({"category": "MARKETING"}) is not None, "the category of an approved one stays"
    assert edit({"message_send_ttl_seconds": 60}) is None
    assert edit({"message_send_ttl_seconds": 5}) is not None
    assert edit({"colour": "red"}) is not None


def test_a_deleted_template_keeps_its_name_for_30_days() -> None:
    account = Account()
    spec = account.made()
    assert account.book.delete(account.waba, "no_such", [], account.now) is not None
    assert account.book.delete(account.waba, "other_name", [spec.id], account.now) is not None
    assert account.book.delete(account.waba, spec.name, [spec.id], account.now) is None
    assert spec.status == "PENDING_DELETION"
    assert account.create().subcode == 2388023
    account.pass_time(30 * DAY)
    assert account.book.by_id(spec.id) == (None, None)
    assert isinstance(account.create(), dict)


def test_a_category_changes_after_its_notice_or_at_once() -> None:
    account = Account()
    spec = account.made()
    account.book.set_category(account.waba, spec, "MARKETING", account.now, notice=True)
    assert (spec.category, spec.correct_category) == ("UTILITY", "MARKETING")
    account.pass_time(DAY)
    assert (spec.category, spec.previous_category) == ("MARKETING", "UTILITY")
    account.book.set_category(account.waba, spec, "UTILITY", account.now, notice=False)
    for name, (_, value) in zip(("impending", "changed", "changed"), account.told, strict=True):
        sample = json.loads((PAYLOADS / f"webhook_template_category_{name}.json").read_text(encoding="utf-8"))
        assert set(value) == set(sample["entry"][0]["changes"][0]["value"])


def test_authentication_templates_have_metas_text_and_a_button_with_the_code() -> None:
    account = Account()
    code = {"components": [{"type": "BODY", "add_security_recommendation": True},
                           {"type": "FOOTER", "code_expiration_minutes": 5},
                           {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE"}]}]}  # fmt: skip
    spec = account.made(name="sign_in", category="AUTHENTICATION", message_send_ttl_seconds=600, **code)
    assert spec.body_variables == ("1",)
    assert [(one.type, one.variable) for one in spec.buttons] == [("URL", True)]
    assert orjson.dumps(spec.components)
