"""Wires the console: Postgres, the read side, the query API, the pages, live events."""

from __future__ import annotations

import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harkara.console.access import Access
from harkara.console.auditing import auditing
from harkara.console.chain import HeadsTold
from harkara.console.commands import Commands
from harkara.console.decisions import deciding
from harkara.console.explain import explaining
from harkara.console.letters import letters
from harkara.console.live import Live
from harkara.console.orders import orders
from harkara.console.pages import pages
from harkara.console.persons import persons
from harkara.console.queries import Queries
from harkara.console.readside import ReadSide
from harkara.console.routes import Desk, router
from harkara.console.settings import Settings
from harkara.console.store import Database, Store
from harkara.policy import governance
from harkara.policy.reload import needs_restart
from harkara.runtime import problems
from harkara.runtime.api_keys import ApiKeys
from harkara.runtime.clock import SystemClock
from harkara.runtime.policy_watch import PolicyFile, PolicyWatch
from harkara.runtime.service import ProducerComponent, Service

SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


def create(settings: Settings) -> Service:
    """The runnable console."""
    clock = SystemClock()
    policy = governance.load(settings.governance_file)
    pepper = settings.pepper_bytes()
    database = Database(settings)
    producer = ProducerComponent(settings)
    access = Access(ApiKeys.from_file(settings.api_keys_file), policy, pepper, clock, settings.session_hours)
    desk = Desk(access, Queries(database.pool), Commands(producer, clock), policy, clock, pepper, settings)
    live = Live(settings.live_interval_seconds, settings.live_clients, settings.live_gap_seconds)
    read_side = ReadSide(settings, Store(database.pool, pepper), database.ready, live.wake, clock)
    told = HeadsTold(database.pool)
    watch = PolicyWatch(settings, PolicyFile(settings.governance_file, policy, governance.load, needs_restart), [])
    return Service(settings, [database, producer, read_side, live, told, watch], http_app(desk, live))


def http_app(desk: Desk, live: Live) -> FastAPI:
    """The routes and pages around what they work with."""
    app = FastAPI(
        title="Harkara console", version="1", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json"
    )
    app.state.desk = desk
    app.state.live = live
    problems.install(app)
    app.add_exception_handler(psycopg.OperationalError, _postgres_away)
    app.add_middleware(SecurityHeaders)
    app.include_router(router)
    app.include_router(explaining)
    app.include_router(orders)
    app.include_router(auditing)
    app.include_router(deciding)
    app.include_router(letters)
    app.include_router(persons)
    app.include_router(pages)
    return app


class SecurityHeaders:
    """Adds the content policy to every answer (plain ASGI, so that streams stay streams)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; add to its answer's head."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *SECURITY_HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


async def _postgres_away(_: Request, __: Exception) -> JSONResponse:
    return problems.Problem(
        503,
        "READ_SIDE_UNAVAILABLE",
        "The read side does not answer",
        "Sending goes on; ask again when Postgres is back.",
        headers={"Retry-After": "5"},
    ).response()
