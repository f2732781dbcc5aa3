"""Who may be written to, how many people, and how webhooks go wrong."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from harkara.graph_api.signature import verify
from harkara.graph_simulator.control_world import Burst, _burst
from harkara.graph_simulator.ledger import Ledger
from harkara.graph_simulator.limits import PortfolioPeople
from harkara.graph_simulator.outbox import HORIZON_SECONDS, Outbox, Post
from harkara.graph_simulator.refusals import Refusal
from harkara.graph_simulator.scenario import Scenario
from harkara.graph_simulator.simulator import Simulator, Verdict
from harkara.graph_simulator.world import TemplateSpec, load_world

PAYLOADS = Path(__file__).parents[2] / "fixtures" / "meta" / "payloads"
NUMBER, OTHER, WABA = "100000000000001", "100000000000002", "112233445566778"
TOKEN, PERSON = "Bearer EAATEST-system-user", "+919999912345"
DAY = 86_400.0


class Platform:
    """A simulator with a clock that is moved by hand; nothing is really posted."""

    def __init__(self, **scenario: Any) -> None:
        self.now = 1_795_156_200.0
        self.outbox = Outbox("http://127.0.0.1:9/hook", lambda: "secret", lambda: self.now, batch=1000)
        settings = Scenario(**({"window": "webhook", "jitter": 0, "read_probability": 1} | scenario))
        self.sim = Simulator(load_world(None), settings, Ledger(), self.outbox, lambda: self.now)
        self.waba = self.sim.wabas[WABA]

    def send(self, to: str = PERSON, template: str | None = "order_update", number: str = NUMBER, **keys: Any) -> Any:
        message: dict[str, Any] = {"messaging_product": "whatsapp", "to": to, **keys}
        if template is None:
            message |= {"type": "text", "text": {"body": "x"}}
        else:
            named = template == "festival_offer"
            names = ["first_name", "discount"]
            values = [{"type": "text", "text": "x", **({"parameter_name": n} if named else {})} for n in names]
            sent = {
                "name": template,
                "language": {"code": "en"},
                "components": [{"type": "body", "parameters": values}],
            }
            message |= {"type": "template", "template": sent}
        return self.sim.judge(number, TOKEN, orjson.dumps(message))

    def code(self, *args: Any, **keys: Any) -> int | None:
        answer = self.send(*args, **keys)
        return answer.code if isinstance(answer, Refusal) else None

    def writes(self, person: str = PERSON) -> str:
        message = {"type": "text", "text": {"body": "Hi"}}
        return self.sim.receive(self.sim.lines[NUMBER], person.lstrip("+"), message, "Asha")

    def changes(self, seconds: float = 10) -> list[dict[str, Any]]:
        self.now += seconds
        self.sim.advance()
        bodies = [json.loads(post.raw) for post in self.outbox._take_due()]
        return [change for body in bodies for entry in body["entry"] for change in entry["changes"]]

    def ends(self) -> list[tuple[str, int | None]]:
        """(status, error code) of everything that goes out next."""
        found = [status for change in self.changes() for status in change["value"].get("statuses", [])]
        return [(one["status"], one["errors"][0]["code"] if "errors" in one else None) for one in found]


READ: list[tuple[str, int | None]] = [("sent", None), ("delivered", None), ("read", None)]


# ---- people ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "marketing", "utility"),
    [
        ({"on_whatsapp": False}, [("failed", 131026)], [("failed", 131026)]),
        ({"stopped_marketing": True}, [("failed", 131050)], READ),
        ({"in_experiment": True}, [("failed", 130472)], READ),
        ({"blocks_business": True}, [("sent", None)], [("sent", None)]),
    ],
)
def test_what_is_known_of_a_person_decides(known: dict[str, bool], marketing: Any, utility: Any) -> None:
    platform = Platform()
    person = platform.sim.people.known(PERSON.lstrip("+"))
    for name, value in known.items():
        setattr(person, name, value)
    assert isinstance(platform.send(template="festival_offer"), Verdict)
    assert platform.ends() == marketing
    assert isinstance(platform.send(), Verdict)
    assert platform.ends() == utility


def test_a_stop_in_the_app_is_told_and_holds() -> None:
    platform = Platform()
    platform.sim.set_preference(platform.sim.lines[NUMBER], PERSON.lstrip("+"), "stop")
    (change,) = platform.changes()
    sample = json.loads((PAYLOADS / "webhook_user_preferences_stop.json").read_text(encoding="utf-8"))
    wanted = sample["entry"][0]["changes"][0]
    assert change["field"] == wanted["field"]
    assert set(change["value"]) == set(wanted["value"])
    assert set(change["value"]["user_preferences"][0]) == set(wanted["value"]["user_preferences"][0])
    assert isinstance(change["value"]["user_preferences"][0]["timestamp"], int)
    platform.send(template="festival_offer")
    assert platform.ends() == [("failed", 131050)]


def test_marketing_is_capped_by_person_outside_a_window_and_trying_lengthens_it() -> None:
    platform = Platform(marketing_per_person=2)
    for wanted in (READ, READ, [("failed", 131049)]):
        platform.send(template="festival_offer")
        assert platform.ends() == wanted
    platform.now += DAY - 15
    for _ in range(2):  # two of the three are out of the 24 hours, the third try counts
        platform.send(template="festival_offer")
    assert Counter(platform.ends()) == Counter([*READ, ("failed", 131049)])
    platform.writes()
    platform.changes()
    for _ in range(3):
        platform.send(template="festival_offer")
        assert platform.ends() == READ, "inside a window nothing is counted"
    platform.send("+12025550143", template="festival_offer")
    assert platform.ends() == [("failed", 131049)], "no marketing is delivered to the USA"


def test_blocked_people_changed_identities_and_countries_are_refused() -> None:
    platform = Platform()
    person = platform.sim.people.known(PERSON.lstrip("+"))
    person.blocked_by.add(NUMBER)
    assert platform.code() == 130403
    assert platform.code(number=OTHER) is None, "only that number blocked them"
    platform.writes()
    assert not [one for one in platform.changes() if "messages" in one["value"]], "they write in vain"
    person.blocked_by.clear()
    person.identity_hash = "abc"
    assert platform.code(recipient_identity_key_hash="other") == 137000
    assert platform.code(recipient_identity_key_hash="abc") is None
    platform.waba.blocked_countries = ("49", "91")
    assert platform.code() == 130497


def test_an_account_without_payment_or_with_marketing_switched_off() -> None:
    platform = Platform()
    platform.waba.payment_method = False
    assert platform.code() == 131042
    platform.writes()
    assert platform.code() is None, "an open window needs no payment method"
    platform.waba.payment_method, platform.waba.marketing_disabled = True, True
    assert platform.code(template="festival_offer") == 131063


def test_a_person_with_a_username_shows_no_number() -> None:
    platform = Platform()
    platform.sim.people.known(PERSON.lstrip("+")).username_only = True
    platform.writes()
    platform.send()
    for change in platform.changes():
        assert "wa_id" not in change["value"]["contacts"][0]
        assert all("from" not in one and one["from_user_id"] for one in change["value"].get("messages", []))
        assert all("recipient_id" not in status for status in change["value"].get("statuses", []))


def test_a_location_header_takes_a_location_alone() -> None:
    platform = Platform()
    spec = TemplateSpec(name="shop", language="en", body="Our shop", header_format="LOCATION", id="7")
    platform.sim.templates.by_account[WABA]["shop", "en"] = spec
    for location, wanted in (({"latitude": 18.5, "longitude": 73.8}, None), ({"latitude": "north"}, 131009)):
        parameter = {"type": "location", "location": location}
        sent = {
            "name": "shop",
            "language": {"code": "en"},
            "components": [{"type": "header", "parameters": [parameter]}],
        }
        body = {"messaging_product": "whatsapp", "to": PERSON, "type": "template", "template": sent}
        answer = platform.sim.judge(NUMBER, TOKEN, orjson.dumps(body))
        assert (answer.code if isinstance(answer, Refusal) else None) == wanted


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_a_portfolio_reaches_so_many_people_in_24_hours_outside_windows() -> None:
    platform = Platform(enforce_throughput=False, magic_suffixes=False)
    for line in platform.sim.lines.values():
        line.number.messaging_limit = "TIER_50"
    for person in range(50):
        assert platform.code(f"+9199999{person:05d}", number=OTHER if person % 2 else NUMBER) is None
    assert platform.code("+919999970000") == 131048
    assert platform.code("+919999900007") is None, "who was written to counts once"
    platform.writes("+919999970000")
    assert platform.code("+919999970000") is None, "an open window needs no place"
    platform.now += DAY + 1
    assert platform.code("+919999970001") is None
    other = Platform(messaging_limit_code=130429, time_scale=DAY, magic_suffixes=False)
    other.sim.lines[NUMBER].number.messaging_limit = "TIER_50"
    assert [other.code(f"+9199999{person:05d}") for person in range(51)][-1] == 130429
    other.now += 1.1
    assert other.code("+919999970000") is None, "a day is a second at that scale"


def test_the_portfolio_never_counts_more_than_its_limit() -> None:
    people = PortfolioPeople()
    taken = [people.take(f"{number % 70}", number * 10.0, 20, 500.0) for number in range(500)]
    assert len(people) <= 20
    assert Counter(taken)[True] > 0


def test_rate_limits_may_be_429_with_retry_after() -> None:
    platform = Platform(rate_limit_status=429, retry_after_seconds=3, window="off")
    refused = [answer for answer in (platform.send(template=None) for _ in range(60)) if isinstance(answer, Refusal)]
    assert {(one.code, one.status, one.headers()["Retry-After"]) for one in refused} == {(131056, 429, "3")}


def test_a_number_on_the_business_app_has_20_a_second() -> None:
    platform = Platform(enforce_pair_limit=False)
    platform.sim.lines[NUMBER].number.coexistence = True
    assert [platform.code() for _ in range(21)] == [None] * 20 + [130429]


def test_an_upgrade_of_throughput_has_its_maintenance_and_its_webhook() -> None:
    platform = Platform(upgrade_ms=1_000)
    platform.sim.upgrade_throughput(platform.sim.lines[NUMBER])
    assert platform.code() == 131057
    (change,) = platform.changes(1.1)
    assert change["value"]["event"] == "THROUGHPUT_UPGRADE"
    assert platform.sim.lines[NUMBER].number.throughput_per_second == 1_000
    assert platform.code() is None


# ---- quality and pacing ----------------------------------------------------------------------------------------------


def test_spam_reports_lower_a_templates_quality_until_it_is_paused() -> None:
    platform = Platform(reports_to_yellow=2, reports_to_red=4)
    scores = []
    for person in range(4):
        assert platform.code(f"+91{9999900000 + person * 10_000 + 72}") is None
        scores.append(platform.sim.templates.by_account[WABA]["order_update", "en"].quality)
    assert scores == ["UNKNOWN", "YELLOW", "YELLOW", "RED"]
    assert platform.code() == 132015
    assert platform.sim.lines[NUMBER].number.quality == "YELLOW", "a number bears twice as much"
    platform.now += 3 * 3600 + 1
    assert platform.code() is None
    fields = Counter(change["field"] for change in platform.changes())
    assert fields["message_template_quality_update"] == 3
    assert fields["message_template_status_update"] == 2
    assert fields["phone_number_quality_update"] == 1


@pytest.mark.parametrize(("pacing", "end"), [("release", "sent"), ("drop", "failed")])
def test_marketing_of_unknown_quality_is_held_after_its_first_messages(pacing: str, end: str) -> None:
    platform = Platform(pacing=pacing, pacing_after=1, hold_ms=1_000)
    first, second = (platform.send(f"+919999910{n}00", template="festival_offer") for n in (1, 2))
    said = [orjson.loads(answer.body)["messages"][0]["message_status"] for answer in (first, second)]
    assert said == ["accepted", "held_for_quality_assessment"]
    found = [status["status"] for change in platform.changes(2) for status in change["value"].get("statuses", [])]
    assert end in found
    assert platform.code(template="festival_offer") == (132015 if pacing == "drop" else None)
    if pacing == "release":
        after = platform.send("+919999910300", template="festival_offer")
        assert orjson.loads(after.body)["messages"][0]["message_status"] == "accepted"


# ---- webhooks --------------------------------------------------------------------------------------------------------


def posts(platform: Platform, messages: int = 60) -> list[Post]:
    for person in range(messages):
        platform.send(f"+9199999{21_000 + person:05d}")
        platform.now += 0.5
    platform.now += 30
    return platform.outbox._take_due()


def test_webhooks_go_missing_come_twice_late_or_from_nowhere_as_the_scenario_says() -> None:
    assert sum(post.updates for post in posts(Platform())) == 180
    missing = Platform(webhook_missing=0.5)
    assert 40 < sum(post.updates for post in posts(missing)) < 140
    assert missing.outbox.stats.withheld + missing.outbox.pending == 180
    doubled = posts(Platform(webhook_duplicate=1))
    assert len(doubled) == 2
    assert doubled[0].raw == doubled[1].raw
    late = Platform(webhook_late=1, late_ms=60_000)
    assert posts(late) == []
    late.now += 61
    assert [post.updates for post in late.outbox._take_due()] == [180]
    strange = posts(Platform(webhook_unknown_field=1))
    assert b"unheard_of_update" in strange[1].raw


def test_statuses_are_shuffled_by_a_seed() -> None:
    def order(seed: int) -> bytes:
        platform = Platform(webhook_shuffle=True, seed=seed)
        raw = b"".join(post.raw for post in posts(platform, 20))
        names = [part.split(b'"')[0] for part in raw.split(b'"status":"')[1:]]
        return b" ".join(names)

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert not order(1).startswith(b"sent delivered read sent delivered read")


def test_payloads_of_v23_have_a_conversation_and_no_user_ids() -> None:
    platform = Platform(payload_version="v23.0")
    platform.send()
    value = platform.changes()[0]["value"]
    sample = json.loads((PAYLOADS / "webhook_status_sent_v23_conversation.json").read_text(encoding="utf-8"))
    wanted = sample["entry"][0]["changes"][0]["value"]
    assert set(value) == set(wanted)
    assert set(value["statuses"][0]) == set(wanted["statuses"][0]) - {"biz_opaque_callback_data"}
    assert set(value["statuses"][0]["conversation"]) == set(wanted["statuses"][0]["conversation"])


def test_a_numbers_service_messages_are_free_up_to_a_thousand() -> None:
    platform = Platform(free_service_messages=1, window="off")
    bills = []
    for _ in range(2):
        platform.send(template=None)
        statuses = [status for change in platform.changes() for status in change["value"]["statuses"]]
        bills.append({(one["pricing"]["type"], one["pricing"]["billable"]) for one in statuses if "pricing" in one})
    assert bills == [{("free_customer_service", False)}, {("regular", True)}]


def test_routes_number_before_account_before_app_and_only_wanted_fields() -> None:
    routes = Platform().outbox.routes
    routes.accounts[WABA], routes.numbers[NUMBER] = "http://account", "http://number"
    assert routes.url_for(WABA, NUMBER, "messages") == "http://number"
    assert routes.url_for(WABA, OTHER, "messages") == "http://account"
    assert routes.url_for(WABA, NUMBER, "account_update") == routes.app_url
    routes.fields = frozenset({"messages"})
    assert routes.url_for(WABA, None, "account_update") is None
    routes.unsubscribed.add(WABA)
    assert routes.url_for(WABA, NUMBER, "messages") is None


def test_a_burst_is_one_large_body_within_metas_bounds() -> None:
    platform = Platform()
    posts(platform, 30)
    order = Burst(phone_number_id=NUMBER, updates=1000, body_bytes=3_000_000)
    body, updates = _burst(platform.sim, platform.sim.lines[NUMBER], order)
    assert updates == 30
    assert 2_900_000 < len(json.dumps(body, separators=(",", ":"))) <= 3_000_000


async def test_a_wrong_signature_comes_first_and_the_right_one_with_the_retry() -> None:
    seen: list[bool] = []

    def answer(request: httpx.Request) -> httpx.Response:
        good = verify(["secret"], request.content, request.headers["X-Hub-Signature-256"])
        seen.append(good)
        return httpx.Response(200 if good else 401)

    now = 1_795_156_200.0
    outbox = Outbox("http://127.0.0.1:9/hook", lambda: "secret", lambda: now, transport=httpx.MockTransport(answer))
    post = Post(b"{}", 1, "http://127.0.0.1:9/hook", now, wrongly_signed=True)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        assert not await outbox._answered_200(http, post)
        assert await outbox._answered_200(http, post)
    assert seen == [False, True]


def test_retries_become_rarer_and_end_after_seven_days_of_the_scenarios_time() -> None:
    for scale in (1.0, 1000.0):
        outbox = Outbox("http://127.0.0.1:9/hook", lambda: "secret", lambda: 0.0)
        outbox.time_scale = scale
        post, waits = Post(b"{}", 1, "http://127.0.0.1:9/hook", 0.0, tries=1), []
        now = 0.0
        while (wait := outbox.next_try(post, now)) is not None:
            waits.append(wait)
            post.tries += 1
            now += wait
        assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
        assert waits == sorted(waits)
        assert max(waits) <= 3600
        assert HORIZON_SECONDS / scale - 3600 <= now <= HORIZON_SECONDS / scale
        assert len(waits) < 300
