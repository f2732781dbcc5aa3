"""The hub of live pages: one look-up for all, changes only, slow clients dropped, everything bounded."""

from __future__ import annotations

import psycopg
import pytest

from harkara.console.live import WAITING_EVENTS, Live, TooManyClients


class View:
    """A view whose content the test sets."""

    def __init__(self, content: str = "a") -> None:
        self.content = content
        self.rendered = 0
        self.away = False

    async def __call__(self) -> str:
        if self.away:
            raise psycopg.OperationalError
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


async def test_a_slow_client_is_dropped_and_the_others_are_not() -> None:
    live, view = Live(1.0, 10), View()
    slow, quick = live.watch("overview", view), live.watch("overview", view)
    for number in range(WAITING_EVENTS + 1):
        view.content = str(number)
        await live.push_changes()
        quick.events.get_nowait()
    assert slow.gone
    assert slow.events.qsize() == WAITING_EVENTS
    assert not quick.gone


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
