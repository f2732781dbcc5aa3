"""A send to a business-scoped user id: the same person for every rule, the answer and statuses in Meta's shape."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from harkara.graph_simulator.bodies import digits_of, user_id
from harkara.graph_simulator.ledger import Entry, Ledger
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.simulator import Verdict
from tests.unit.graph_simulator.test_rules import NUMBER, PERSON, TOKEN, Platform

DIGITS = PERSON.lstrip("+")
MINE, FOREIGN = user_id(DIGITS), "IN.20451873365519208881"


def send(platform: Platform, recipient: object = MINE, **keys: Any) -> Any:
    content = {} if "type" in keys else {"type": "text", "text": {"body": "x"}}
    body = {"messaging_product": "whatsapp", "recipient": recipient} | content | keys
    return platform.sim.judge(NUMBER, TOKEN, orjson.dumps(body))


@pytest.mark.req("B17")
def test_the_answer_the_ledger_and_every_status_name_the_user_id_and_no_number() -> None:
    platform = Platform(window="off")
    verdict = send(platform, biz_opaque_callback_data="m-1.1")
    assert isinstance(verdict, Verdict)
    assert orjson.loads(verdict.body)["contacts"] == [{"input": MINE, "user_id": MINE}]
    (entry,) = platform.sim.ledger.page(0, 9)
    assert (entry.to, entry.user_id) == (DIGITS, MINE)
    values = [change["value"] for change in platform.changes()]
    statuses = [status for value in values for status in value["statuses"]]
    assert [status["status"] for status in statuses] == ["sent", "delivered", "read"]
    for status in statuses:
        assert status["recipient_user_id"] == MINE and status["biz_opaque_callback_data"] == "m-1.1"
        assert "recipient_id" not in status
    assert all(set(contact) == {"profile", "user_id"} for value in values for contact in value.get("contacts", []))


def test_it_is_the_same_person_for_window_block_and_pair_limit() -> None:
    platform = Platform(enforce_pair_limit=True)
    send(platform)
    assert platform.ends() == [("failed", 131047)]
    platform.writes()
    codes = [found.code for found in (send(platform) for _ in range(50)) if isinstance(found, Refusal)]
    assert set(codes) == {131056}
    assert platform.code(template=None) == 131056
    other = Platform()
    other.sim.people.known(DIGITS).on_whatsapp = False
    send(other, type="template", template=TEMPLATE)
    assert other.ends() == [("failed", 131026)]


TEMPLATE = {
    "name": "order_update",
    "language": {"code": "en"},
    "components": [{"type": "body", "parameters": [{"type": "text", "text": "x"}] * 2}],
}


def test_with_both_names_the_phone_is_written_to() -> None:
    platform = Platform(window="off")
    verdict = send(platform, to=PERSON)
    assert orjson.loads(verdict.body)["contacts"] == [{"input": PERSON, "wa_id": DIGITS}]
    assert platform.sim.ledger.page(0, 9)[0].user_id is None


@pytest.mark.parametrize("recipient", ["in.2045", "IN.", PERSON, 5, "IN.2045\n", "IN." + "2" * 129, {"id": MINE}])
def test_what_is_no_user_id_is_refused(recipient: object) -> None:
    assert send(Platform(), recipient).code == 131009


def test_an_id_of_nobody_simulated_stands_for_itself() -> None:
    assert digits_of(FOREIGN) == FOREIGN and digits_of(MINE) == DIGITS
    platform = Platform(window="off")
    assert isinstance(send(platform, FOREIGN), Verdict)
    assert platform.sim.ledger.page(0, 9)[0].to == FOREIGN


def test_a_ledger_of_before_user_ids_is_read(tmp_path: Path) -> None:
    path = tmp_path / "accepted.jsonl"
    entry = Entry(1, 1_795_156_200_000, NUMBER, DIGITS, "wamid.1", None, "text", None, "service", "read")
    row = {name: value for name, value in asdict(entry).items() if name != "user_id"}
    path.write_bytes(orjson.dumps(row) + b"\n")
    assert Ledger(path).page(0, 9) == [entry]
