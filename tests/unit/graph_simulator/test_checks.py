"""Every strict check of a send, each by a body that differs from a good one in one thing."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harkara.graph_simulator.ledger import Ledger
from harkara.graph_simulator.outbox import Outbox
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.scenario import Scenario
from harkara.graph_simulator.simulator import Simulator, Verdict
from harkara.graph_simulator.world import World, load_world

PAYLOADS = Path(__file__).parents[2] / "fixtures" / "meta" / "payloads"
NUMBER, TOKEN = "100000000000001", "Bearer EAATEST-one"
Body = dict[str, Any]


def world() -> World:
    """The example world and the templates of Meta's samples."""
    loaded = load_world(None)
    waba = loaded.wabas[0]
    url, reply = {"type": "URL", "variable": True}, {"type": "QUICK_REPLY"}
    extra = [
        {"name": "order_dispatch_v3", "language": "en_US", "header_format": "IMAGE", "body": "{{1}} {{2}}",
         "buttons": [url, reply]},
        {"name": "login_code", "language": "en_US", "category": "AUTHENTICATION", "body": "{{1}}", "buttons": [url]},
        {"name": "invoice_sent", "language": "en", "header_format": "DOCUMENT", "body": "{{1}}"},
        {"name": "launch_video", "language": "hi", "header_format": "VIDEO", "body": "x"},
        {"name": "festival_offer_named", "language": "mr", "header_format": "TEXT", "header": "{{festival}}",
         "body": "{{first_name}} {{discount}}"},
        {"name": "festival_offer", "language": "mr", "body": "x"},
    ]  # fmt: skip
    templates = [*(template.model_dump(exclude={"id"}) for template in waba.templates), *extra]
    return World.model_validate({"wabas": [{**waba.model_dump(exclude={"templates"}), "templates": templates}]})


def simulator(**scenario: Any) -> Simulator:
    wanted = {"window": "off", "check_media_ids": False, "magic_suffixes": False} | scenario
    now = 1_795_156_200.0
    outbox = Outbox("http://127.0.0.1:9/hook", lambda: "secret", lambda: now)
    return Simulator(world(), Scenario(**wanted), Ledger(), outbox, lambda: now)


FUZZED = simulator(check_media_ids=True, enforce_throughput=False, enforce_pair_limit=False)


def judge(body: object, sim: Simulator | None = None, token: str | None = TOKEN, number: str = NUMBER) -> Any:
    return (sim or simulator()).judge(number, token, orjson.dumps(body))


def code(body: object, sim: Simulator | None = None) -> tuple[int, int]:
    answer = judge(body, sim)
    assert isinstance(answer, Refusal), answer
    assert orjson.loads(answer.body())["error"]["code"] == answer.code
    return answer.code, answer.status


def text(**changes: Any) -> Body:
    body = {"messaging_product": "whatsapp", "to": "+919999900500", "type": "text", "text": {"body": "Namaste"}}
    return {key: value for key, value in (body | changes).items() if value is not None}


def template(name: str = "order_update", language: str = "en", components: object = None, **changes: Any) -> Body:
    good = [{"type": "body", "parameters": [{"type": "text", "text": "Asha"}, {"type": "text", "text": "7"}]}]
    inner = {"name": name, "language": {"code": language}, "components": good if components is None else components}
    return text(type="template", text=None, template=inner, **changes)


SAMPLES = sorted(path.stem for path in PAYLOADS.glob("graph_req_send_*.json"))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sampled_send_is_accepted(name: str) -> None:
    body = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    if name.endswith("header_document"):
        body["template"]["name"] = "invoice_sent"
    assert isinstance(judge(body), Verdict), judge(body)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ([], (100, 400)),
        ("text", (100, 400)),
        (text(messaging_product="sms"), (100, 400)),
        (text(messaging_product=None), (100, 400)),
        (text(to=None), (100, 400)),
        (text(to="hello"), (131009, 400)),
        (text(to=919999900500), (131009, 400)),
        (text(to=None, recipient="919999900500"), (131009, 400)),
        (text(type="fax"), (131051, 400)),
        (text(type=["text"]), (131051, 400)),
        (text(text=None), (131008, 400)),
        (text(text={"body": "x", "bodyy": 1}), (100, 400)),
        (text(text={}), (131008, 400)),
        (text(text={"body": 5}), (131009, 400)),
        (text(text={"body": "x" * 4097}), (100, 400)),
        (text(text={"body": "x", "preview_url": "yes"}), (131009, 400)),
        (text(extra=1), (100, 400)),
        (text(image={"id": "1"}), (100, 400)),
        (text(recipient_type="crowd"), (131009, 400)),
        (text(biz_opaque_callback_data="x" * 513), (100, 400)),
        (text(biz_opaque_callback_data=5), (131009, 400)),
        (text(context="wamid.x"), (131009, 400)),
        (text(to="+919999990001"), (131021, 400)),
    ],
)
def test_the_envelope_and_text(body: object, wanted: tuple[int, int]) -> None:
    assert code(body) == wanted


def typed(kind: str, inner: Any) -> Body:
    return text(text=None, type=kind, **{kind: inner})


def interactive(**changes: Any) -> Body:
    buttons = [{"type": "reply", "reply": {"id": "1", "title": "Yes"}}]
    inner = {"type": "button", "body": {"text": "Fine?"}, "action": {"buttons": buttons}}
    return typed("interactive", {key: value for key, value in (inner | changes).items() if value is not None})


def rows(count: int, **row: str) -> Body:
    one = {"id": "1", "title": "8-10"} | row
    return {"type": "list", "action": {"button": "See", "sections": [{"title": "T", "rows": [one] * count}]}}


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (typed("image", {}), 131008),
        (typed("image", {"id": "1", "link": "https://a.example.test/x"}), 100),
        (typed("image", {"link": "ftp://a.example.test/x"}), 131009),
        (typed("image", {"id": "1", "caption": "x" * 1025}), 100),
        (typed("image", {"id": "1", "filename": "x"}), 100),
        (typed("audio", {"id": "1", "caption": "x"}), 100),
        (typed("location", {"latitude": 1}), 131008),
        (typed("location", {"latitude": "north", "longitude": 1}), 131009),
        (typed("reaction", {"message_id": "wamid.x"}), 131008),
        (typed("reaction", {"emoji": "x"}), 131008),
        (interactive(type="wheel"), 131009),
        (interactive(action=None), 131008),
        (interactive(body=None), 131008),
        (interactive(body={"text": "x" * 1025}), 100),
        (interactive(footer={"text": "x" * 61}), 100),
        (interactive(header={"type": "text", "text": "x" * 61}), 100),
        (interactive(action={"buttons": []}), 131008),
        (interactive(action={"buttons": [{"reply": {"id": "1", "title": "x"}}] * 4}), 131009),
        (interactive(action={"buttons": [{"reply": {"id": "1", "title": "x" * 21}}]}), 100),
        (interactive(action={"buttons": [{"reply": {"id": "1" * 257, "title": "x"}}]}), 100),
        (interactive(**rows(11)), 131009),
        (interactive(**rows(1, title="x" * 25)), 100),
        (interactive(**rows(1, id="x" * 201)), 100),
        (interactive(**rows(1, description="x" * 73)), 100),
        (interactive(type="cta_url"), 131008),
        (interactive(type="location_request_message", action={"name": "x"}), 131009),
        (interactive(extra=1), 100),
    ],
)
def test_other_types(body: Body, wanted: int) -> None:
    assert code(body)[0] == wanted


BUTTON = {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "7"}]}
DOCUMENT = {"type": "header", "parameters": [{"type": "document", "document": {"id": "1"}}]}
ONE = {"type": "body", "parameters": [{"type": "text", "text": "7"}]}


def invoice(*components: Any) -> Body:
    return template("invoice_ready", "en", list(components))


def values(*parameters: Any) -> Body:
    return template(components=[{"type": "body", "parameters": list(parameters)}])


def named(*names: str) -> Body:
    parameters = [{"type": "text", "parameter_name": name, "text": "x"} for name in names]
    return template("festival_offer", "en", [{"type": "body", "parameters": parameters}])


A, B = {"type": "text", "text": "a"}, {"type": "text", "text": "b"}


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (template("no_such"), (132001, 404)),
        (template(language="en_US"), (132001, 404)),
        (template("new_offer", components=[]), (132001, 404)),
        (template("old_offer", components=[]), (132015, 400)),
        (template("banned_offer", components=[]), (132016, 400)),
        (typed("template", {"name": "order_update"}), (100, 400)),
        (typed("template", {"language": {"code": "en"}}), (131008, 400)),
        (typed("template", {"name": "order_update", "language": {"code": "en"}, "x": 1}), (100, 400)),
        (template(components={}), (131009, 400)),
        (template(components=[{"type": "footer"}]), (131009, 400)),
        (template(components=[]), (132000, 400)),
        (values(A), (132000, 400)),
        (values(A, B, A), (132000, 400)),
        (values(A, {"type": "image", "image": {"id": "1"}}), (132012, 400)),
        (values(A, {"type": "text"}), (131008, 400)),
        (values(A, {"type": "text", "text": "a\nb"}), (132018, 400)),
        (values(A, {"type": "text", "text": "a" + " " * 5 + "b"}), (132018, 400)),
        (values(A, B | {"parameter_name": "x"}), (132012, 400)),
        (values(A, B | {"colour": "x"}), (100, 400)),
        (values(A, {"type": "text", "text": "x" * 33_000}), (132005, 400)),
        (named("first_name", "price"), (100, 400)),
        (invoice(ONE, BUTTON), (132012, 400)),
        (
            invoice({"type": "header", "parameters": [{"type": "image", "image": {"id": "1"}}]}, ONE, BUTTON),
            (132012, 400),
        ),
        (invoice(DOCUMENT, ONE), (131008, 400)),
        (invoice(DOCUMENT, ONE, BUTTON | {"parameters": []}), (131008, 400)),
        (invoice(DOCUMENT, ONE, BUTTON | {"sub_type": "quick_reply"}), (132012, 400)),
        (invoice(DOCUMENT, ONE, BUTTON | {"index": None}), (131008, 400)),
        (invoice(DOCUMENT, ONE, BUTTON, BUTTON | {"index": "5"}), (132012, 400)),
    ],
)
def test_templates(body: Body, wanted: tuple[int, int]) -> None:
    assert code(body) == wanted


def test_good_templates_are_accepted() -> None:
    for body in (template(), invoice(DOCUMENT, ONE, BUTTON), named("first_name", "discount"), template(language="hi")):
        assert isinstance(judge(body), Verdict)


def test_an_authentication_template_cannot_go_to_a_user_id() -> None:
    body = template("login_code", "en", [ONE, BUTTON])
    assert isinstance(judge(body), Verdict)
    bsuid = {key: value for key, value in body.items() if key != "to"} | {"recipient": "IN.20451873365519208881"}
    assert code(bsuid)[0] == 131062


@pytest.mark.parametrize(
    ("token", "number", "wanted", "status"),
    [
        (None, NUMBER, 190, 401),
        ("EAATEST-one", NUMBER, 190, 401),
        ("Bearer EAATEST-nobody", NUMBER, 190, 401),
        ("Bearer EAATEST-two", NUMBER, 10, 403),
        (TOKEN, "100000000000099", 100, 400),
        ("Bearer EAATEST-nobody", "100000000000099", 190, 401),
    ],
)
def test_tokens_and_ids(token: str | None, number: str, wanted: int, status: int) -> None:
    answer = judge(text(), token=token, number=number)
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.status) == (wanted, status)
    if wanted == 100:
        error = orjson.loads(answer.body())["error"]
        assert (error["type"], error["error_subcode"]) == ("GraphMethodException", 33)


def test_the_accounts_token_holds_for_each_of_its_numbers() -> None:
    for number in ("100000000000001", "100000000000002"):
        assert isinstance(judge(text(), token="Bearer EAATEST-system-user", number=number), Verdict)


def test_broken_json_is_refused_not_a_crash() -> None:
    answer = simulator().judge(NUMBER, TOKEN, b'{"messaging_product": ')
    assert isinstance(answer, Refusal)
    assert answer.code == 100


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"token_valid": False}, (190, 401)),
        ({"health": "BLOCKED"}, (131031, 403)),
        ({"status": "DISCONNECTED"}, (133010, 400)),
        ({"refuse_code": 131045}, (131045, 500)),
    ],
)
def test_the_state_of_a_number(change: Body, wanted: tuple[int, int]) -> None:
    sim = simulator()
    for name, value in change.items():
        setattr(sim.lines[NUMBER].number, name, value)
    assert code(text(), sim) == wanted
    assert isinstance(judge(text(), sim, "Bearer EAATEST-two", "100000000000002"), Verdict), "the one beside it sends"


def test_a_restricted_account_refuses_all_its_numbers() -> None:
    sim = simulator()
    sim.lines[NUMBER].waba.status = "RESTRICTED"
    assert code(text(), sim) == (368, 403)


def test_a_media_id_must_be_uploaded_by_the_account_and_be_of_the_kind() -> None:
    sim = simulator(check_media_ids=True)
    waba = sim.lines[NUMBER].waba.id
    image = sim.media.add(waba, "image/png", "", 10, sim.clock())
    assert isinstance(judge(typed("image", {"id": image.id}), sim), Verdict)
    assert code(typed("video", {"id": image.id}), sim) == (131053, 400)
    assert code(typed("image", {"id": "4711"}), sim) == (131053, 400)
    foreign = copy.deepcopy(DOCUMENT)
    assert code(invoice(foreign, ONE, BUTTON), sim) == (131053, 400)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "1", "text", "²"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "id", "text", "x"]), inner),
    max_leaves=6,
)
GOOD = [json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8")) for name in SAMPLES]


def paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, child in children for deeper in paths(child, (*path, key)))]


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_body_makes_it_crash(data: st.DataObject) -> None:
    body = copy.deepcopy(data.draw(st.sampled_from(GOOD)))
    path = data.draw(st.sampled_from(paths(body)[1:]))
    inner = body
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = data.draw(JSON)
    judge(body, FUZZED)


def test_mark_as_read_knows_inbound_messages_only() -> None:
    sim = simulator()
    wamid = sim.receive(sim.lines[NUMBER], "919999900500", {"type": "text", "text": {"body": "Hi"}}, "Asha")
    read = {"messaging_product": "whatsapp", "status": "read", "message_id": wamid}
    assert judge(read, sim) == {"success": True}
    assert code(read | {"message_id": "wamid.x"}, sim) == (131009, 400)
