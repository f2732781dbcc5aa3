"""The operator's pages: plain HTML made on the server, kept live by /events. No phone and no text appears on them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from importlib import resources
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, quote

import psycopg
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from harkara.console.access import COOKIE, Caller, is_local
from harkara.console.answers import message_answer, number_answers, run_answer
from harkara.console.core import DEAD_LETTER_TOPICS
from harkara.console.live import Live, TooManyClients
from harkara.console.orders import tell_run
from harkara.console.routes import (
    BEYOND_CANCELLING,
    AtDesk,
    Desk,
    bounded,
    cancel,
    find_message,
    home_of_number,
    not_found,
)
from harkara.contracts.commands import RunWord
from harkara.runtime.problems import Problem

LONGEST_FORM_BYTES = 4096  # a key or a note
RUN_MESSAGES = 100  # rows of a run's page; the next page is a link away
STATIC = {"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}
OUR_PATH = re.compile(r"/(?![/\\])[\x21-\x7e]*")  # where a login may lead: a path here, never another site
RUN_WORDS: dict[str, RunWord] = {"pause": "pause_run", "resume": "resume_run", "cancel": "cancel_run"}
QUALITY_WORDS = {"GREEN": "high", "YELLOW": "medium", "RED": "low", "UNKNOWN": "not known"}


class PageRoute(APIRoute):
    """Answers with HTML where the API answers with a problem; a visitor without a session is led to the login."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, with our errors."""
        handler = super().get_route_handler()

        async def page(request: Request) -> Response:
            try:
                return await handler(request)
            except Problem as problem:
                if problem.status == 401 and request.method == "GET":
                    there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                    return RedirectResponse(f"/login?next={quote(there)}", 303)
                answer = _page("error.html", problem.status, title=problem.title, detail=problem.detail)
                answer.headers.update(problem.headers)
                return answer
            except psycopg.OperationalError:
                detail = "Sending goes on. The page comes back by itself when Postgres does; reload it then."
                return _page("error.html", 503, title="Postgres does not answer", detail=detail)

        return page


def live_of(request: Request) -> Live:
    """The hub of the app that got the request."""
    live: Live = request.app.state.live
    return live


def visitor_of(request: Request) -> Caller:
    """The caller by session (or by header); raises Problem 401."""
    caller: Caller = request.app.state.desk.access.caller(request)
    return caller


Visitor = Annotated[Caller, Depends(visitor_of)]
pages = APIRouter(route_class=PageRoute, include_in_schema=False)


@pages.get("/")
async def overview(desk: AtDesk, visitor: Visitor) -> Response:
    """Runs, numbers and dead letters, at a glance."""
    return _page("overview.html", **await _overview(desk, visitor))


@pages.get("/runs/{run_id}")
async def run_page(
    run_id: str, desk: AtDesk, visitor: Visitor, status: str | None = None, after: Annotated[str, Query()] = ""
) -> Response:
    """One run: its counts, and its messages by status."""
    found = await _run(desk, visitor, run_id)
    chosen = status or None
    rows = await desk.queries.run_messages(run_id, chosen and bounded(chosen), bounded(after), RUN_MESSAGES)
    following = rows[-1]["message_id"] if len(rows) == RUN_MESSAGES else None
    return _page("run.html", **found, messages=rows, chosen=chosen, following=following)


@pages.post("/runs/{run_id}/{word}")
async def tell_by_form(
    run_id: str, word: Literal["pause", "resume", "cancel"], desk: AtDesk, visitor: Visitor
) -> Response:
    """The page's buttons: as POST /api/v1/runs/{id}/pause and the like."""
    await tell_run(desk, visitor, RUN_WORDS[word], run_id)
    return RedirectResponse(f"/runs/{quote(run_id, safe='')}", 303)


@pages.get("/messages")
async def search(q: str = "") -> Response:
    """The search box: straight to the message."""
    return RedirectResponse(f"/messages/{quote(q.strip(), safe='')}" if q.strip() else "/", 303)


@pages.get("/messages/{message_id}")
async def message_page(message_id: str, desk: AtDesk, visitor: Visitor) -> Response:
    """One message: where it is, every attempt, its history."""
    return _page("message.html", **await _message(desk, visitor, message_id))


@pages.post("/messages/{message_id}/cancel")
async def cancel_by_form(message_id: str, desk: AtDesk, visitor: Visitor) -> Response:
    """The page's button: as DELETE /api/v1/messages/{id}."""
    state, _ = await find_message(desk, visitor, message_id)
    await cancel(desk, visitor, state)
    return RedirectResponse(f"/messages/{quote(state.message_id, safe='')}", 303)


@pages.get("/numbers/{phone_number_id}")
async def number_page(phone_number_id: str, desk: AtDesk, visitor: Visitor) -> Response:
    """One number: what it may do and why, what was seen about it, who did what."""
    home = home_of_number(desk, visitor, phone_number_id)
    answers = number_answers(desk.governance, await desk.queries.numbers(home), home, desk.clock.now())
    number = next(each for each in answers if each.phone_number_id == phone_number_id)
    events = await desk.queries.number_events(phone_number_id)
    audit = await desk.queries.audit(phone_number_id)
    return _page("number.html", number=number, events=events, audit=audit)


@pages.post("/numbers/{phone_number_id}/halt")
async def halt_by_form(phone_number_id: str, request: Request, desk: AtDesk, visitor: Visitor) -> Response:
    """The page's button: as POST /api/v1/numbers/{id}/halt."""
    home = home_of_number(desk, visitor, phone_number_id)
    await desk.commands.number("halt", phone_number_id, home, visitor.key.id, await _field(request, "note", 500))
    return RedirectResponse(f"/numbers/{phone_number_id}", 303)


@pages.post("/numbers/{phone_number_id}/resume")
async def resume_by_form(phone_number_id: str, request: Request, desk: AtDesk, visitor: Visitor) -> Response:
    """The page's button: as POST /api/v1/numbers/{id}/resume."""
    home = home_of_number(desk, visitor, phone_number_id)
    await desk.commands.number("resume", phone_number_id, home, visitor.key.id, await _field(request, "note", 500))
    return RedirectResponse(f"/numbers/{phone_number_id}", 303)


@pages.get("/dead-letters/{topic}")
async def dead_letters_page(topic: str, desk: AtDesk, visitor: Visitor) -> Response:
    """The newest dead letters of a topic: where they are and why, never what is in them."""
    visitor.require_everything()
    return _page("dead_letters.html", topic=topic, letters=await desk.queries.dead_letters_of(bounded(topic)))


@pages.get("/login")
async def login_form(request: Request) -> Response:
    """The form that takes an API key."""
    return _page("login.html", wrong=False, following=_following(request.query_params.get("next", "/")))


@pages.post("/login")
async def login(request: Request, desk: AtDesk) -> Response:
    """Give a session for an API key; the key itself is not kept."""
    form = await _form(request)
    following = _following(form.get("next", "/"))
    cookie = desk.access.login(form.get("key", ""))
    if cookie is None:
        return _page("login.html", 401, wrong=True, following=following)
    response = RedirectResponse(following, 303)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=desk.access.session_seconds,
        httponly=True,
        samesite="strict",
        secure=not is_local(request),
    )
    return response


@pages.post("/logout")
async def logout() -> Response:
    """Forget the session."""
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@pages.get("/events")
async def events(request: Request, desk: AtDesk, visitor: Visitor, view: str = "overview") -> Response:
    """Server-sent events of one view (`overview`, `run:<id>`, `message:<id>`): its HTML at once and on change (`view`),
    that it is to be fetched (`refetch`: it is larger than an event may be, or its reader is behind), and every 15 s
    without either that the stream lives (`beat`). Each begins with the view as it is: a new one has missed nothing.
    """
    render = _view(desk, visitor, bounded(view))
    first = await render()  # 404 here rather than a stream of nothing
    name = _watched(visitor, view)
    live = live_of(request)
    try:
        client = live.watch(name, render, first, view)
    except TooManyClients:
        raise Problem(503, "TOO_MANY_WATCHERS", "Too many pages are open", headers={"Retry-After": "30"}) from None
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(live.stream(name, client), media_type="text/event-stream", headers=headers)


@pages.get("/view")
async def fetched_view(request: Request, desk: AtDesk, visitor: Visitor, view: str = "overview") -> Response:
    """A view's HTML for who is told `refetch`: as its watchers were last shown it, where somebody watches it."""
    render = _view(desk, visitor, bounded(view))
    html = live_of(request).shown(_watched(visitor, view)) or await render()
    return HTMLResponse(html, headers={"Cache-Control": "no-store"})


@pages.get("/static/{name}")
async def static(name: str) -> Response:
    """The stylesheet and the script, from the package."""
    if name not in STATIC:
        raise not_found("file")
    return Response(_STATIC[name], media_type=STATIC[name], headers={"Cache-Control": "max-age=3600"})


def _watched(visitor: Caller, view: str) -> str:
    """The name under which those who may see the same watch the same."""
    return f"{visitor.home or '*'} {view}"


def _view(desk: Desk, visitor: Caller, view: str) -> Callable[[], Awaitable[str]]:
    kind, _, name = view.partition(":")
    makers: dict[str, tuple[str, Callable[[], Awaitable[dict[str, Any]]]]] = {
        "overview": ("_overview.html", lambda: _overview(desk, visitor)),
        "run": ("_run.html", lambda: _run(desk, visitor, name)),
        "message": ("_message.html", lambda: _message(desk, visitor, name)),
    }
    if kind not in makers:
        raise not_found("view")
    template, content = makers[kind]

    async def render() -> str:
        return _templates.get_template(template).render(await content())

    return render


async def _overview(desk: Desk, visitor: Caller) -> dict[str, Any]:
    numbers = number_answers(desk.governance, await desk.queries.numbers(visitor.home), visitor.home, desk.clock.now())
    runs = [run_answer(each) for each in await desk.queries.runs(20, None, visitor.home)]
    letters = await desk.queries.dead_letters() if visitor.home is None else None
    return {"runs": runs, "numbers": numbers, "letters": letters, "dlq_topics": len(DEAD_LETTER_TOPICS)}


async def _run(desk: Desk, visitor: Caller, run_id: str) -> dict[str, Any]:
    found = await desk.queries.run(bounded(run_id), visitor.home)
    if found is None:
        raise not_found("run")
    return {"run": run_answer(found), "sla_events": found["sla_events"]}


async def _message(desk: Desk, visitor: Caller, name: str) -> dict[str, Any]:
    state, history = await find_message(desk, visitor, name)
    audit = await desk.queries.audit(state.message_id)
    cancellable = state.status not in BEYOND_CANCELLING
    return {"message": message_answer(state, history), "audit": audit, "cancellable": cancellable}


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM_BYTES:
            raise Problem(413, "PAYLOAD_TOO_LARGE", "The form is too long")
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    return {name: values[0] for name, values in fields.items()}


async def _field(request: Request, name: str, longest: int) -> str:
    return (await _form(request)).get(name, "").strip()[:longest]


def _following(path: str) -> str:
    return path if OUR_PATH.fullmatch(path) else "/"


def _page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    html = _templates.get_template(template).render(values)
    return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})


def _shown_time(at: datetime | str | None) -> str:
    """As `2026-11-21 06:05:00 UTC`; the page's script adds the reader's own time."""
    if at is None:
        return ""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("harkara.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["shown_time"] = _shown_time
    found.filters["words"] = lambda name: str(name).replace("_", " ")
    found.globals["quality_words"] = QUALITY_WORDS
    return found


_templates = _environment()
_STATIC = {name: (resources.files("harkara.console") / "static" / name).read_bytes() for name in STATIC}
