"""Whatever the topics hold, every page that can be reached shows it: all examples, and a walk along the links."""

from __future__ import annotations

import html
import re
from collections import deque

import httpx
import pytest

from harkara.console.core import TOPICS
from harkara.contracts.topics import BY_NAME, MESSAGE_LIFECYCLE, MESSAGE_STATE, SEND_INTENTS, SEND_RUNS
from harkara.runtime.kafka import RawOutput
from tests.integration.console.conftest import KEY, Console
from tests.support.examples import all_examples, examples
from tests.support.wait import eventually

LINK = re.compile(r'href="([^"]*)"')
MOST_PAGES = 500  # the examples give about fifty


def records(partitions: int) -> list[RawOutput]:
    """Every example that the console reads, byte for byte, and two dead letters."""
    read = {topic.name for topic in TOPICS}
    found = [
        RawOutput(each.topic, each.partition(partitions), each.key.encode(), each.raw, each.headers)
        for each in all_examples()
        if each.topic.name in read
    ]
    about = [
        ("dlq-reason", b"an <b>odd</b> reason"),
        ("dlq-loop", b"test"),
        ("dlq-source", b"send-intents-0-1"),
    ]
    letters = [b"{no json", b'{"message_id": "m-00000001"}']
    return found + [RawOutput(BY_NAME[SEND_INTENTS.dlq.name], 0, b"advisors", value, about) for value in letters]


def where_to_begin() -> list[str]:
    """The overview, and each message, to which it does not always lead."""
    both = (MESSAGE_STATE, MESSAGE_LIFECYCLE)
    messages = {each.value.get("message_id") for topic in both for each in examples(topic.name)}
    return ["/", *(f"/messages/{each}" for each in messages if each)]


async def walk(browser: httpx.AsyncClient, begin: list[str]) -> dict[str, int]:
    """Every page that can be reached, with its status."""
    waiting, seen = deque(begin), dict[str, int]()
    while waiting:
        path = waiting.popleft()
        if path in seen:
            continue
        answer = await browser.get(path)
        seen[path] = answer.status_code
        assert len(seen) < MOST_PAGES
        if "text/html" in answer.headers.get("content-type", ""):
            links = (html.unescape(each) for each in LINK.findall(answer.text))
            waiting.extend(str(answer.url.join(each).raw_path, "ascii") for each in links if not each.startswith("#"))
    return seen


@pytest.mark.req("UI-1", "UI-2")
async def test_every_page_shows_what_there_is(console: Console) -> None:
    await console.writer.write(records(console.settings.partitions))
    transport, same = console.http._transport, {"Sec-Fetch-Site": "same-origin"}
    async with httpx.AsyncClient(transport=transport, base_url="https://console.test", headers=same) as browser:
        await browser.post("/login", data={"key": KEY, "next": "/"})
        begin = where_to_begin()

        async def all_known() -> bool:
            runs = [f"/runs/{each.value['run_id']}" for each in examples(SEND_RUNS.name)]
            letters = "/dead-letters/" in (await browser.get("/")).text
            return letters and all([(await browser.get(path)).status_code == 200 for path in begin + runs])

        await eventually(all_known, timeout_seconds=30, every=0.3)
        seen = await walk(browser, begin)
    assert {path for path, status in seen.items() if status != 200} == set()
    kinds = {path.split("/")[1] for path in seen}
    assert {"", "runs", "messages", "numbers", "dead-letters", "static"} <= kinds
