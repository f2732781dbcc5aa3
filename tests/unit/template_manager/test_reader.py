"""Reading an account's list: its pages, its odd nodes, and what becomes of a list that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from harkara.contracts.templates import TemplateEvent
from harkara.graph_api.client import GraphClient
from harkara.graph_api.egress import MAX_ANSWER_BYTES
from harkara.policy.governance import Governance
from harkara.runtime.clock import ManualClock
from harkara.template_manager.core import Row, next_row
from harkara.template_manager.effects import MOST_CALLS, Accounts, Reader, TokenMissing, client_for, token_of
from harkara.template_manager.settings import Settings

WABA = "200000000000001"
NOW = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)


def policy(**number: Any) -> Governance:
    told = {
        "phone_number_id": "100000000000001", "display_phone_number": "+919999990001", "waba_id": WABA,
        "portfolio_id": "300000000000001", "token_env": "TOKEN_OF_TEMPLATES",
    }  # fmt: skip
    return Governance.model_validate({"numbers": [told | number], "compliance": {"consent_mode": "opt_out"}})


def node(n: int, **more: Any) -> dict[str, Any]:
    components = [{"type": "BODY", "text": "Hello {{1}}.", "example": {"body_text": [["Asha"]]}}]
    told = {"id": str(n), "name": f"template_{n}", "language": "en", "status": "APPROVED", "category": "UTILITY"}
    return told | {"components": components, "quality_score": {"score": "GREEN"}} | more


class Meta:
    """An account's list, and how it is answered."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        self.nodes = list(nodes)
        self.asked: list[httpx.URL] = []
        self.refusal: dict[str, Any] | None = None
        self.padding = 0
        self.endless = self.gone = False
        self.takes: Callable[[], None] = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        self.takes()
        assert request.url.path == f"/v26.0/{WABA}/message_templates"
        assert request.headers["authorization"] == "Bearer EAATEST-one"
        if self.refusal is not None:
            return httpx.Response(400, json={"error": self.refusal})
        if self.gone:
            raise httpx.ReadTimeout("no answer")
        if self.endless:
            return httpx.Response(200, json={"data": [], "paging": {"cursors": {"after": "x"}, "next": "more"}})
        start, limit = int(request.url.params.get("after", "0")), int(request.url.params["limit"])
        page = self.nodes[start : start + limit]
        if not page:
            return httpx.Response(200, json={"data": []})
        paging: dict[str, Any] = {"cursors": {"before": str(start), "after": str(start + len(page))}}
        if start + limit < len(self.nodes):
            paging["next"] = "https://graph.facebook.com/next"
        padded = [each | {"padding": "x" * self.padding} for each in page]
        return httpx.Response(200, content=json.dumps({"data": padded, "paging": paging}).encode())


class Rows:
    """The rows that the instance holds: all partitions are its own."""

    owned = frozenset(range(6))

    def __init__(self) -> None:
        self.by_key: dict[str, Row] = {}

    def rows(self, partition: int, waba_id: str) -> dict[str, Row]:
        return dict(self.by_key)

    def fold(self, events: list[TemplateEvent]) -> None:
        for event in events:
            self.by_key[event.key] = next_row(self.by_key.get(event.key), event, NOW) or self.by_key[event.key]


class Reading:
    """A reader with its clock in the test's hand."""

    def __init__(self, meta: Meta, governance: Governance | None = None) -> None:
        settings, self.clock, self.meta, self.table = Settings(partitions=6), ManualClock(NOW), meta, Rows()
        accounts = Accounts(governance or policy(), 6)

        self.clients_made = 0

        def client(_: str) -> GraphClient:
            self.clients_made += 1
            transport = httpx.MockTransport(meta)
            return GraphClient("http://graph", "v26.0", lambda: token_of(accounts.numbers(WABA)), transport=transport)

        self.reader = Reader(settings, accounts, self.clock, client)
        self.reader.projection = self.table  # type: ignore[assignment]  # what it asks of a projection

    async def due(self) -> list[TemplateEvent]:
        """What the accounts whose time has come bring; folded."""
        found = [event for waba_id in self.reader._due() for event in await self.reader._read(waba_id)]
        self.table.fold(found)
        return found

    async def first_list(self) -> list[TemplateEvent]:
        """What the first list brings: ten seconds after the first look, which only makes the timetable."""
        self.reader._due()
        self.pass_seconds(10)
        return await self.due()

    def pass_seconds(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_TEMPLATES", "EAATEST-one")


@pytest.mark.req("TPL-2")
async def test_every_page_is_read_and_only_news_is_told(token: None) -> None:
    meta = Meta(*(node(n) for n in range(250)))
    reading = Reading(meta)
    reading.pass_seconds(10)
    assert reading.reader._due() == []  # the first look only makes the timetable
    reading.pass_seconds(10)
    found = await reading.due()
    assert len(found) == 250 and len(meta.asked) == 3 and {each.kind for each in found} == {"listed"}
    assert found[7].parameters is not None and found[7].parameters.body_values == ("1",)
    assert found[7].wording == "Hello {{1}}."
    reading.pass_seconds(15 * 60 - 1)
    assert await reading.due() == [] and len(meta.asked) == 3
    meta.nodes[5] = node(5, status="REJECTED", rejected_reason="INVALID_FORMAT")
    del meta.nodes[9]
    reading.pass_seconds(60)
    told = {each.name: each for each in await reading.due()}
    assert set(told) == {"template_5"}, "what one list does not have may have been skipped"
    reading.pass_seconds(18)
    (gone,) = await reading.due()
    assert (gone.name, gone.kind) == ("template_9", "missing")
    assert told["template_5"].reason is not None and told["template_5"].reason.code == "INVALID_FORMAT"
    assert {row["status"] for row in reading.table.by_key.values()} == {"APPROVED", "REJECTED", "DELETED"}


@pytest.mark.req("TPL-3")
async def test_a_notice_and_the_end_of_a_pause_bring_the_list_sooner(token: None) -> None:
    meta = Meta(node(1))
    reading = Reading(meta)
    await reading.first_list()
    for _ in range(5):
        reading.reader.heard(WABA)
    reading.reader.heard("999")  # an account that the policy does not have
    reading.pass_seconds(9)
    assert await reading.due() == [] and len(meta.asked) == 1, "calls are at least ten seconds apart"
    reading.pass_seconds(2)
    await reading.due()
    assert len(meta.asked) == 2
    paused = {"waba_id": WABA, "name": "template_1", "language": "en", "kind": "status", "status": "PAUSED"}
    at = reading.clock.now()
    told = paused | {"at": at, "until": at + timedelta(minutes=5)}
    reading.table.fold([TemplateEvent.model_validate(told)])
    reading.pass_seconds(299)
    assert len(meta.asked) == 2
    await reading.due()
    reading.pass_seconds(8)
    await reading.due()
    assert len(meta.asked) == 3


@pytest.mark.req("B13")
async def test_while_the_list_lags_behind_refused_calls_it_is_read_again_when_the_doubt_ends(token: None) -> None:
    meta = Meta(node(1))
    reading = Reading(meta)
    await reading.first_list()
    told = {"waba_id": WABA, "name": "template_1", "language": "en", "kind": "status", "status": "PAUSED"}
    at = reading.clock.now()
    reading.table.fold([TemplateEvent.model_validate(told | {"at": at, "source": "dispatcher"})])
    reading.reader.heard(WABA)
    reading.pass_seconds(11)
    assert await reading.due() == [] and len(meta.asked) == 2
    reading.pass_seconds(48)
    assert await reading.due() == [] and len(meta.asked) == 2
    reading.pass_seconds(7)
    assert [(each.name, each.status) for each in await reading.due()] == [("template_1", "APPROVED")]


@pytest.mark.req("B12", "B13")
@pytest.mark.parametrize(
    ("notice", "undone"),
    [
        ({"kind": "status", "status": "PAUSED"}, True),
        ({"kind": "category", "category": "MARKETING", "previous_category": "UTILITY"}, True),
        ({"kind": "components"}, False),
    ],
    ids=["a pause", "a dearer category", "an edit"],
)
async def test_while_the_list_may_lag_behind_a_notice_it_undoes_nothing_and_is_read_again_at_the_end(
    token: None, notice: dict[str, Any], undone: bool
) -> None:
    meta = Meta(node(1))
    reading = Reading(meta)
    await reading.first_list()
    told = {"waba_id": WABA, "name": "template_1", "language": "en", "at": reading.clock.now()}
    reading.table.fold([TemplateEvent.model_validate(told | notice)])
    reading.reader.heard(WABA)
    noticed = dict(reading.table.by_key)
    reading.pass_seconds(11)
    assert await reading.due() == [] and len(meta.asked) == 2 and reading.table.by_key == noticed
    reading.pass_seconds(304 - 11)
    assert await reading.due() == [] and len(meta.asked) == 2
    reading.pass_seconds(1)
    found = await reading.due()
    assert len(meta.asked) == 3, "not only a quarter of an hour later"
    assert [each.kind for each in found] == (["listed"] if undone else [])


async def test_a_doubt_that_ends_while_the_list_is_read_asks_for_another_reading(token: None) -> None:
    meta = Meta(node(1))
    reading = Reading(meta)
    await reading.first_list()
    told = {"waba_id": WABA, "name": "template_1", "language": "en", "kind": "status", "status": "PAUSED"}
    reading.table.fold([TemplateEvent.model_validate(told | {"at": reading.clock.now()})])
    reading.pass_seconds(285)
    reading.reader.heard(WABA)
    reading.pass_seconds(10)
    meta.takes = lambda: reading.pass_seconds(10)
    assert await reading.due() == [] and len(meta.asked) == 2, "it was asked for five seconds before the end"
    meta.takes = lambda: None
    reading.pass_seconds(10)
    assert [each.status for each in await reading.due()] == ["APPROVED"]


async def test_pages_that_are_too_long_are_asked_for_in_smaller_ones(token: None) -> None:
    meta = Meta(*(node(n) for n in range(30)))
    meta.padding = MAX_ANSWER_BYTES // 20
    reading = Reading(meta)
    assert len(await reading.first_list()) == 30
    assert [int(url.params["limit"]) for url in meta.asked[:3]] == [100, 25, 6]


async def test_a_template_that_one_list_skipped_is_not_gone(token: None) -> None:
    meta = Meta(node(1), node(2))
    reading = Reading(meta)
    await reading.first_list()
    skipped = meta.nodes.pop()
    reading.pass_seconds(15 * 60)
    assert await reading.due() == []
    meta.nodes.append(skipped)
    reading.pass_seconds(15)
    assert await reading.due() == [] and len(meta.asked) == 3
    meta.nodes.pop()
    reading.pass_seconds(15 * 60)
    assert await reading.due() == [], "it was listed in between"


@pytest.mark.parametrize(
    "odd",
    [
        {"id": 7, "name": None, "language": "en"},
        {"id": "7", "name": "odd", "language": "en", "components": [{"type": "BUTTONS", "buttons": 5}]},
    ],
    ids=["no name", "buttons that are none"],
)
async def test_an_odd_node_is_passed_over_and_the_others_are_known(token: None, odd: dict[str, Any]) -> None:
    reading = Reading(Meta(node(1), odd, node(2, status="HOLOGRAM", category="HOLOGRAPHIC", components=[])))
    found = {each.name: each for each in await reading.first_list()}
    assert set(found) == {"template_1", "template_2"}
    for _ in range(3):  # the odd one may be any of those that are not there
        reading.meta.nodes = [node(1), odd]
        reading.pass_seconds(15 * 60)
        assert await reading.due() == []
    row = reading.table.by_key[f"{WABA}/template_2/en"]
    assert (row["status"], row["category"]) == ("UNKNOWN", None)


async def test_a_list_without_an_end_deletes_nothing_and_one_that_times_out_is_asked_for_once(token: None) -> None:
    meta = Meta(node(1))
    reading = Reading(meta)
    await reading.first_list()
    meta.endless = True
    reading.pass_seconds(15 * 60)
    assert await reading.due() == [] and len(meta.asked) == 1 + MOST_CALLS
    meta.endless, meta.gone = False, True
    reading.pass_seconds(60 * 60)
    assert await reading.due() == [] and len(meta.asked) == 2 + MOST_CALLS
    assert reading.table.by_key[f"{WABA}/template_1/en"]["status"] == "APPROVED"


@pytest.mark.parametrize("code", [80007, 4, 190, 10])
async def test_a_list_that_is_refused_deletes_nothing_and_is_asked_for_later_and_later(token: None, code: int) -> None:
    meta = Meta(node(1))
    reading = Reading(meta)
    await reading.first_list()
    meta.refusal = {"message": "no", "code": code}
    reading.pass_seconds(15 * 60)
    assert await reading.due() == [] and len(meta.asked) == 2
    reading.reader.heard(WABA)
    reading.pass_seconds(29)
    assert await reading.due() == [] and len(meta.asked) == 2
    reading.pass_seconds(2)
    await reading.due()
    reading.pass_seconds(59)
    await reading.due()
    assert len(meta.asked) == 3
    assert reading.table.by_key[f"{WABA}/template_1/en"]["status"] == "APPROVED"
    meta.refusal = None
    reading.pass_seconds(2)
    assert await reading.due() == [] and len(meta.asked) == 4


async def test_another_policy_counts_for_the_accounts_and_their_tokens(token: None) -> None:
    reading = Reading(Meta(node(1)), policy(token_env="TOKEN_OF_NOBODY", waba_id="200000000000002"))
    reading.reader.follow(policy())
    assert [each.name for each in await reading.first_list()] == ["template_1"]
    settings = Settings(partitions=6, graph_base_url="http://graph")
    accounts = Accounts(policy(waba_id="200000000000002"), 6)
    made = client_for(settings, accounts)
    Reader(settings, accounts, reading.clock, made).follow(policy())
    await made(WABA).aclose()  # an account that the first policy did not have


@pytest.mark.req("OPS-8")
async def test_another_way_out_counts_from_the_next_reading_on(token: None) -> None:
    reading = Reading(Meta(node(1)))
    ways = [{}, {}, {"proxy": "http://proxy-a:3128"}, {"proxy": "http://proxy-a:3128"}, {"local_address": "10.0.0.7"}]
    made = []
    for way in ways:
        reading.reader.follow(policy(**way))
        reading.pass_seconds(15 * 60)
        reading.reader._due()
        reading.pass_seconds(10)
        await reading.due()
        made.append(reading.clients_made)
    assert made == [1, 1, 2, 2, 3]


async def test_without_a_token_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TOKEN_OF_TEMPLATES", raising=False)
    meta = Meta(node(1))
    reading = Reading(meta)
    assert await reading.first_list() == [] and meta.asked == []
    token_file = tmp_path / "token"
    token_file.write_text("EAATEST-two\n")
    numbers = [*policy().numbers, *policy(token_env=None, token_file=str(token_file)).numbers]
    assert token_of(numbers) == "EAATEST-two"
    token_file.unlink()
    with pytest.raises(TokenMissing):
        token_of(numbers)
