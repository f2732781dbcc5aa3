"""The hub of live pages: one look-up for all, changes only, slow clients dropped, everything bounded."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from harkara.console.live import MOST_EVENT_BYTES, WAITING_EVENTS, Live, TooManyClients, Word
from harkara.runtime.problems import Problem
from tests.support.services import running
from tests.support.wait import eventually


class View:
    """A view whose content the test sets."""

    def __init__(self, content: str = "a") -> None:
        self.content = content
        self.rendered = 0
        self.away = False
        self.there = True

    async def __call__(self) -> str:
        if self.away:
            raise psycopg.OperationalError
        if not self.there:
            raise Problem(404, "NOT_FOUND", "No such view")
        self.rendered += 1
        return self.content


async def test_a_change_is_pushed_once_to_all_who_watch_and_looked_up_once() -> None:
    live, view = Live(1.0, 10), View()
    clients = [live.watch("overview", view) for _ in range(3)]
    await live.push_changes()
    await live.push_changes()
    assert view.rendered == 2
    assert [client.events.qsize() for client in clients] == [1, 1, 1]
    view.content = "b"
    await live.push_changes()
    assert [client.events.qsize() for client in clients] == [2, 2, 2]


async def test_who_comes_later_gets_what_is_shown_at_once() -> None:
    live, view = Live(1.0, 10), View("shown")
    live.watch("overview", view)
    await live.push_changes()
    assert live.watch("overview", view).events.get_nowait() == "shown"


@pytest.mark.req("WHK-13")
async def test_a_slow_client_keeps_nothing_but_that_it_must_fetch_and_the_others_are_not_held_up() -> None:
    live, view = Live(1.0, 10), View()
    slow, quick = live.watch("overview", view), live.watch("overview", view)
    waiting = []
    for number in range(100):
        view.content = str(number)
        await live.push_changes()
        assert quick.events.get_nowait() == str(number)
        waiting.append(slow.events.qsize())
    assert max(waiting) == WAITING_EVENTS and waiting[-1] == 1
    stream = live.stream("overview", slow)
    assert (await anext(stream)).startswith("retry: ")
    assert await anext(stream) == "event: refetch\ndata: \n\n"
    assert live.shown("overview") == "99", "what it fetches"
    view.content = "next"
    await live.push_changes()
    assert await anext(stream) == "event: view\ndata: next\n\n", "it takes part again"
    await stream.aclose()


@pytest.mark.req("WHK-13")
async def test_what_is_larger_than_64_kb_is_fetched_and_nothing_larger_is_ever_sent() -> None:
    live, view = Live(1.0, 10), View()
    client = live.watch("overview", view)
    frame = len(b"event: view\ndata: \n\n")
    for size, sent in ((MOST_EVENT_BYTES - frame, True), (MOST_EVENT_BYTES - frame + 1, False)):
        view.content = "x" * size
        await live.push_changes()
        assert client.events.get_nowait() == (view.content if sent else Word.REFETCH)
        client.behind = False  # as its stream does when it takes the word
    view.content = "\n".join("x" * (MOST_EVENT_BYTES // 5))  # each line has six bytes more in the frame
    await live.push_changes()
    assert client.events.get_nowait() is Word.REFETCH
    assert live.watch("overview", view).events.get_nowait() is Word.REFETCH
    assert live.shown("overview") == view.content
    assert live.shown("run:1") is None


@pytest.mark.req("WHK-13")
async def test_a_stored_batch_wakes_the_hub_and_many_make_one_look() -> None:
    live, view = Live(3600, 10, 0.02), View()
    async with running([live]):
        client = live.watch("overview", view)
        assert await asyncio.wait_for(client.events.get(), 20) == "a"
        looks = view.rendered
        view.content = "b"
        for _ in range(1000):
            live.wake({"overview"})
        assert await asyncio.wait_for(client.events.get(), 20) == "b"
        assert view.rendered <= looks + 2, "one that was under way, and one for all thousand"


@pytest.mark.req("WHK-13")
async def test_what_was_written_is_looked_up_and_nothing_else_however_much_is() -> None:
    live, run, message = Live(3600, 10, 0.01), View(), View()
    async with running([live]):
        seen = live.watch("advisors run:1", run, "a", "run:1")
        live.watch("* message:1", message, "a", "message:1")
        await eventually(lambda: run.rendered > 0 and message.rendered > 0)
        before = message.rendered
        for number in range(5):
            run.content = str(number)
            live.wake({"run:1", "message:2", "overview"})
            while await asyncio.wait_for(seen.events.get(), 20) != str(number):
                pass
        assert message.rendered == before


async def test_what_another_console_stored_is_found_without_being_woken() -> None:
    live, view = Live(0.02, 10), View()
    async with running([live]):
        client = live.watch("overview", view)
        await eventually(lambda: view.rendered >= 3)
        view.content = "b"
        assert [await asyncio.wait_for(client.events.get(), 20) for _ in range(2)] == ["a", "b"]


@pytest.mark.req("WHK-13")
async def test_a_stream_with_nothing_to_say_says_that_it_lives() -> None:
    class Quick(Live):
        beat_seconds = 0.02

    assert 15 <= Live.beat_seconds <= 30
    live, view = Quick(1.0, 10), View()
    stream = live.stream("overview", live.watch("overview", view))
    said = [await asyncio.wait_for(anext(stream), 20) for _ in range(3)]
    assert said[1:] == ["event: beat\ndata: 0.02\n\n"] * 2
    await stream.aclose()


async def test_a_view_that_is_gone_ends_its_streams_and_nothing_else() -> None:
    live, gone, other = Live(1.0, 10), View(), View()
    client, still = live.watch("message:1", gone, "first"), live.watch("overview", other)
    gone.there = False
    await live.push_changes()
    assert [each async for each in live.stream("message:1", client)][1:] == []
    assert (client.gone, still.gone, still.events.qsize()) == (True, False, 1)


async def test_nobody_watching_nothing_looked_up() -> None:
    live, view = Live(1.0, 10), View()
    client = live.watch("overview", view)
    live.leave("overview", client)
    live.leave("overview", client)
    await live.push_changes()
    assert view.rendered == 0


async def test_clients_are_bounded() -> None:
    live, view = Live(1.0, 2), View()
    first = live.watch("overview", view)
    live.watch("run:1", view)
    with pytest.raises(TooManyClients):
        live.watch("overview", view)
    live.leave("overview", first)
    live.watch("overview", view)


async def test_while_postgres_is_away_the_pages_keep_what_they_show() -> None:
    live, view = Live(1.0, 10), View()
    client = live.watch("overview", view)
    view.away = True
    await live.push_changes()
    assert client.events.empty()
    assert not client.gone


async def test_the_stream_is_of_server_sent_events_and_ends_when_dropped() -> None:
    live, view = Live(1.0, 10), View("<p>\none</p>")
    client = live.watch("overview", view)
    await live.push_changes()
    stream = live.stream("overview", client)
    assert (await anext(stream)).startswith("retry: ")
    assert await anext(stream) == "event: view\ndata: <p>\ndata: one</p>\n\n"
    client.gone = True
    assert [each async for each in stream] == []
    assert live.watch("overview", view).events.empty()  # the view had been forgotten with its last client
