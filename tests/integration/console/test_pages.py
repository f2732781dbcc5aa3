"""The operator's pages in a browser's order: log in, look, command; and what they never show."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import httpx
import pytest

from harkara.console.settings import Settings
from harkara.contracts.event import event_id
from harkara.contracts.lifecycle import MessageLifecycle, MessageState, advance
from harkara.contracts.runs import SendRun
from harkara.contracts.topics import MESSAGE_STATE, NUMBER_COMMANDS, SEND_RUNS
from harkara.devstack.ports import free_ports
from harkara.runtime.kafka import Output, Writer, start_producer
from harkara.runtime.topic_admin import ensure_topics
from tests.integration.console.conftest import KEY, PEPPER, Console
from tests.support.kafka import read_all
from tests.support.services import service_process
from tests.support.wait import eventually

AT = datetime.now(UTC).replace(microsecond=0)  # statistics look back at most 31 days
NUMBER = "100000000000001"


@pytest.fixture
async def browser(console: Console) -> AsyncIterator[httpx.AsyncClient]:
    """A browser with our page open, not logged in."""
    transport = console.http._transport
    headers = {"Sec-Fetch-Site": "same-origin"}
    async with httpx.AsyncClient(transport=transport, base_url="https://console.test", headers=headers) as client:
        yield client


async def log_in(browser: httpx.AsyncClient, key: str = KEY, following: str = "/") -> httpx.Response:
    return await browser.post("/login", data={"key": key, "next": following})


@pytest.mark.req("UI-2")
async def test_an_empty_system_says_so_and_names_every_number(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/")).headers["location"] == "/login?next=/"
    assert "API key" in (await browser.get("/login")).text
    wrong = await log_in(browser, "ops.wrong")
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    right = await log_in(browser)
    cookie = right.headers["set-cookie"]
    assert (right.status_code, right.headers["location"]) == (303, "/")
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Secure"))
    assert KEY not in cookie
    page = (await browser.get("/")).text
    assert "No run has been accepted yet." in page
    assert "None, on any of" in page
    assert page.count("no lane has reported yet") == 3
    await browser.post("/logout")
    assert (await browser.get("/")).status_code == 303


@pytest.mark.parametrize("there", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:1", ""])
async def test_a_login_leads_nowhere_else(browser: httpx.AsyncClient, there: str) -> None:
    assert (await log_in(browser, following=there)).headers["location"] == "/"


async def test_pages_load_nothing_from_elsewhere_and_forbid_it(browser: httpx.AsyncClient) -> None:
    await log_in(browser)
    answer = await browser.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in answer.text.replace("https://console.test", "")
    assert " style=" not in answer.text
    assert "<script>" not in answer.text
    for name in ("console.css", "console.js"):
        assert (await browser.get(f"/static/{name}")).status_code == 200
    assert (await browser.get("/static/..%2fapp.py")).status_code == 404


async def test_what_comes_from_outside_is_escaped(browser: httpx.AsyncClient, console: Console) -> None:
    name = "<script>alert(1)</script>"
    run = SendRun(
        run_id="r-1", name=name, producer="ops", expected=1, homes={NUMBER: 1}, audience_hash="h", created_at=AT
    )
    await console.write([Output(SEND_RUNS, "r-1", "r-1", run, "r", AT)])
    await console.until("/api/v1/runs/r-1", lambda a: True)
    await log_in(browser)
    for path in ("/", "/runs/r-1"):
        page = (await browser.get(path)).text
        assert "&lt;script&gt;alert(1)" in page
        assert name not in page
    missing = await browser.get("/messages", params={"q": "<b>nobody</b>"}, follow_redirects=True)
    assert missing.status_code == 404
    assert "<b>nobody" not in missing.text


async def test_a_number_is_halted_from_its_page_but_not_from_another_sites(
    browser: httpx.AsyncClient, console: Console, settings: Settings
) -> None:
    await log_in(browser)
    assert NUMBER in (await browser.get(f"/numbers/{NUMBER}")).text
    evil = await browser.post(f"/numbers/{NUMBER}/halt", data={"note": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert evil.status_code == 403
    ours = await browser.post(f"/numbers/{NUMBER}/halt", data={"note": "odd replies"})
    assert (ours.status_code, ours.headers["location"]) == (303, f"/numbers/{NUMBER}")
    assert len(await read_all(settings.kafka.bootstrap, settings.kafka.topic(NUMBER_COMMANDS))) == 1
    await eventually(lambda: shows(browser, f"/numbers/{NUMBER}", "odd replies"))
    huge = await browser.post(f"/numbers/{NUMBER}/halt", content=b"note=" + b"x" * 10_000)
    assert huge.status_code == 413


async def shows(browser: httpx.AsyncClient, path: str, text: str) -> bool:
    return text in (await browser.get(path)).text


def message_output(name: str) -> Output:
    event = MessageLifecycle.model_validate({"message_id": name, "home": NUMBER, "status": "received", "at": AT})
    state = MessageState.model_validate(advance(None, event))
    return Output(MESSAGE_STATE, NUMBER, name, state, event_id(name), AT)


def process(settings: Settings, port: int) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """The console as it is deployed: a process of its own."""
    environment = {
        "HARKARA_POSTGRES_DSN": settings.postgres_dsn.get_secret_value(),
        "HARKARA_API_KEYS_FILE": str(settings.api_keys_file),
        "HARKARA_GOVERNANCE_FILE": str(settings.governance_file),
        "HARKARA_PEPPER": PEPPER,
        "HARKARA_HTTP_PORT": str(port),
        "HARKARA_LIVE_INTERVAL_SECONDS": "0.1",
    }
    return service_process("console", settings, environment, settings.data_dir / "console.log")


async def test_a_killed_console_loses_nothing_and_a_page_sees_it_live(settings: Settings) -> None:
    await ensure_topics(settings)
    (port,) = free_ports(1)
    producer = await start_producer(settings)
    writer = Writer(producer, settings.kafka, settings.partitions, "test")
    names = [f"m-killed-{number:04}" for number in range(3000)]
    base = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": KEY}, timeout=20)
    try:
        async with process(settings, port) as first:
            await eventually(lambda: answers(base, "/readyz"))
            writing = asyncio.create_task(writer.write(message_output(name) for name in names))
            await eventually(lambda: answers(base, f"/api/v1/messages/{names[0]}/status"))
            first.send_signal(signal.SIGKILL)
            assert await first.wait() == -signal.SIGKILL
            await writing
        async with process(settings, port) as second:
            await eventually(lambda: stats_total(base, len(names)), timeout_seconds=40)
            async with base.stream("GET", "/events", params={"view": f"message:{names[7]}"}) as stream:
                lines = stream.aiter_lines()
                assert await next_view(lines, "received")
                event = MessageLifecycle.model_validate(
                    {"message_id": names[7], "home": NUMBER, "status": "rejected", "at": AT}
                )
                state = advance(advance(None, event.model_copy(update={"status": "received", "rank": 0})), event)
                later = MessageState.model_validate(state)
                await writer.write([Output(MESSAGE_STATE, NUMBER, names[7], later, "later", AT)])
                assert await next_view(lines, "rejected")
            second.terminate()
            assert await second.wait() == 0
    finally:
        await base.aclose()
        await producer.stop()


async def next_view(lines: AsyncIterator[str], text: str) -> bool:
    """Read server-sent events until one holds the text."""
    async with asyncio.timeout(20):
        async for line in lines:
            if line.startswith("data:") and f">{text}<" in line:
                return True
    return False


async def answers(client: httpx.AsyncClient, path: str) -> bool:
    try:
        return (await client.get(path)).status_code == 200
    except httpx.TransportError:
        return False


async def stats_total(client: httpx.AsyncClient, wanted: int) -> bool:
    try:
        answer = await client.get(f"/api/v1/stats/{NUMBER}", params={"hours": 744})
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and answer.json()["total"] == wanted
