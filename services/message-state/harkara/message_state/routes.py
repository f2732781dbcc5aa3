"""One message's state by its id, for whoever need not read the topic. The topic is the interface; this is a window."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Header, Path, Response

from harkara.contracts.event import MessageId
from harkara.contracts.lifecycle import State
from harkara.runtime import problems
from harkara.runtime.api_keys import ApiKeys
from harkara.runtime.problems import Problem

RETRY_SECONDS = "5"  # a rebalance or a recovery of the table takes about that long


class Lookup(Protocol):
    """Where states are found by id."""

    @property
    def owned(self) -> frozenset[int]:
        """The partitions whose states are held here; none while they may move."""
        ...

    def find(self, message_id: str) -> State | None:
        """The state, where its partition is owned here."""
        ...


def build_app(keys: ApiKeys, lookup: Lookup) -> FastAPI:
    """GET /api/v1/messages/{message_id}: the state as it is on message-state, its version as ETag."""
    app = FastAPI(title="message-state", docs_url=None, redoc_url=None, openapi_url=None)
    problems.install(app)

    @app.get("/api/v1/messages/{message_id}")
    async def message(
        message_id: Annotated[MessageId, Path()],
        response: Response,
        authorization: Annotated[str | None, Header()] = None,
        x_api_key: Annotated[str | None, Header()] = None,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Any:
        keys.authenticate(authorization, x_api_key)
        if not lookup.owned:
            raise Problem(503, "NOT_READY", "The states are being read", headers={"Retry-After": RETRY_SECONDS})
        state = lookup.find(message_id)
        if state is None:
            raise Problem(
                404,
                "MESSAGE_NOT_HERE",
                "This instance does not hold the message",
                "It is unknown, forgotten, or in a partition of another instance: ask that one, or read the topic.",
                headers={"X-Harkara-Partitions": ",".join(map(str, sorted(lookup.owned)))},
            )
        version = f'"{state["version"]}"'
        if if_none_match == version:
            return Response(status_code=304, headers={"ETag": version})
        response.headers["ETag"] = version
        return state

    return app
