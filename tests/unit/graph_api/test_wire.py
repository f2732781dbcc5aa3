"""The send bodies are Meta's samples, key for key; the answers are read whatever optional key is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harkara.contracts.intents import Button, Content, Media, Template, Text
from harkara.graph_api.wire import ErrorBody, HealthStatus, PhoneNumber, SendAnswer, build_message

PAYLOADS = Path(__file__).parents[2] / "fixtures" / "meta" / "payloads"
TO = "+919999900011"


def sample(name: str) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


SENDS: list[tuple[str, Content]] = [
    ("graph_req_send_text", Text(body="आपका ऑर्डर भेज दिया गया है।")),
    ("graph_req_send_image", Media(type="image", id="2754859441498128", caption="Your parcel")),
    ("graph_req_send_video", Media(type="video", id="2754859441498129", caption="How to use")),
    (
        "graph_req_send_document",
        Media(
            type="document",
            link="https://cdn.example.test/invoice-221.pdf",
            filename="invoice-221.pdf",
            caption="Invoice",
        ),
    ),
    (
        "graph_req_send_template_positional",
        Template(
            name="order_dispatch_v3",
            language="en_US",
            header=Media(type="image", id="2754859441498128"),
            body=("Asha", "ORD-221"),
            buttons=(
                Button(sub_type="url", index=0, value="ORD-221"),
                Button(sub_type="quick_reply", index=1, value="OPTOUT|v1|cmp-8841"),
            ),
        ),
    ),
    (
        "graph_req_send_template_auth",
        Template(
            name="login_code",
            language="en_US",
            body=("482913",),
            buttons=(Button(sub_type="url", index=0, value="482913"),),
        ),
    ),
    (
        "graph_req_send_template_header_document",
        Template(
            name="invoice_ready",
            language="en",
            header=Media(type="document", id="2754859441498130", filename="invoice-221.pdf"),
            body=("221",),
        ),
    ),
    (
        "graph_req_send_template_header_video_link",
        Template(
            name="launch_video",
            language="hi",
            header=Media(type="video", link="https://cdn.example.test/launch.mp4"),
        ),
    ),
]


@pytest.mark.parametrize(("name", "content"), SENDS, ids=[name for name, _ in SENDS])
def test_the_send_body_is_metas_sample(name: str, content: Content) -> None:
    wanted = sample(name)
    opaque = str(wanted.setdefault("biz_opaque_callback_data", "msg-00000001.1"))
    assert build_message(TO, content, opaque) == wanted


def test_to_a_user_id_goes_what_metas_sample_has() -> None:
    wanted = sample("graph_req_send_template_to_bsuid") | {"biz_opaque_callback_data": "msg-00000001.1"}
    content, user_id = Template(name="festival_offer", language="mr"), str(wanted["recipient"])
    assert build_message(None, content, "msg-00000001.1", user_id=user_id) == wanted
    assert "recipient" not in build_message(TO, content, "msg-00000001.1", user_id=user_id)
    with pytest.raises(ValueError, match="neither"):
        build_message(None, content, "msg-00000001.1")


def test_named_values_carry_their_names() -> None:
    content = Template(name="festival_offer", language="mr", named={"first_name": "सुनीता", "discount": "20%"})
    body = build_message(TO, content, "msg-00000001.1")["template"]["components"][0]
    assert body["parameters"] == [
        {"type": "text", "parameter_name": "first_name", "text": "सुनीता"},
        {"type": "text", "parameter_name": "discount", "text": "20%"},
    ]


def test_a_template_without_values_has_no_components_and_a_text_header_is_one_value() -> None:
    bare = build_message(TO, Template(name="hello", language="en"), "msg-00000001.1")["template"]
    assert bare == {"name": "hello", "language": {"code": "en"}}
    headed = build_message(TO, Template(name="hello", language="en", header="Diwali"), "msg-00000001.1")["template"]
    assert headed["components"] == [{"type": "header", "parameters": [{"type": "text", "text": "Diwali"}]}]


@pytest.mark.parametrize(
    "name", [path.stem for path in sorted(PAYLOADS.glob("graph_res_send_*.json"))], ids=lambda name: str(name)
)
def test_every_sampled_send_answer_is_read(name: str) -> None:
    answer = SendAnswer.model_validate(sample(name))
    assert answer.messages[0].id.startswith("wamid.")


ERROR_BODIES = [path for path in sorted(PAYLOADS.glob("graph_err_*.json")) if path.stem != "graph_err_html_502"]


@pytest.mark.parametrize("path", ERROR_BODIES, ids=lambda path: path.stem)
def test_every_sampled_error_body_is_read(path: Path) -> None:
    body = json.loads(path.read_text(encoding="utf-8"))
    error = ErrorBody.model_validate(body).error
    assert error.code == body["error"]["code"]
    assert isinstance(error.details, str)


def test_error_data_may_be_a_string() -> None:
    error = ErrorBody.model_validate(sample("graph_err_template_string_error_data")).error
    assert error.details.startswith('{"blame_field_specs"')
    assert error.error_subcode == 2388072


@pytest.mark.parametrize(
    ("name", "worst"),
    [
        ("graph_res_health_phone_available", "AVAILABLE"),
        ("graph_res_health_phone_limited", "LIMITED"),
        ("graph_res_health_business_limited_with_errors", "LIMITED"),
        ("graph_res_health_template_blocked", "BLOCKED"),
        ("graph_res_health_waba_blocked", "BLOCKED"),
    ],
)
def test_health_is_the_worst_entity(name: str, worst: str) -> None:
    assert HealthStatus.model_validate(sample(name)["health_status"]).worst_for_messages() == worst


def test_health_with_a_word_that_is_not_metas_is_unknown_and_a_call_block_does_not_count() -> None:
    entity = {"entity_type": "PHONE_NUMBER", "id": "1", "can_send_message": "AVAILABLE"}
    calls = HealthStatus.model_validate({"can_send_message": "BLOCKED", "entities": [entity]})
    assert calls.worst_for_messages() == "AVAILABLE"
    new = HealthStatus.model_validate({"can_send_message": "X", "entities": [entity | {"can_send_message": "SLOW"}]})
    assert new.worst_for_messages() == "UNKNOWN"


@pytest.mark.parametrize(
    "name", ["graph_res_phone_fields", "graph_res_phone_fields_default", "graph_res_phone_fields_restricted"]
)
def test_phone_number_fields_are_read_whichever_come(name: str) -> None:
    wanted = sample(name)
    number = PhoneNumber.model_validate(wanted)
    assert number.id == wanted["id"]
    assert number.status == wanted.get("status")
