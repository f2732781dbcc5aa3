"""Every Graph call but sends: media, numbers, accounts, templates, subscriptions, block list, registration, uploads.

Each endpoint is a function of a Call that answers with a JSON object or a Refusal; `_endpoint` makes it HTTP: version,
time, the log of calls, the scenario's refusal of everything, the usage header.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from harkara.graph_simulator import management_media as media
from harkara.graph_simulator.answers import bad_version, json_answer, refused
from harkara.graph_simulator.bodies import JsonObject
from harkara.graph_simulator.management_call import Call
from harkara.graph_simulator.management_callbacks import (
    app_token,
    override_of_number,
    subscribe_app,
    subscribe_fields,
    subscribed_apps,
    subscribed_fields,
    unsubscribe_app,
)
from harkara.graph_simulator.management_numbers import block_list, block_users, deregister, register, unblock_users
from harkara.graph_simulator.nodes import fields_of, listed, number_node, template_node, waba_node
from harkara.graph_simulator.refusals import Refusal, unknown_object
from harkara.graph_simulator.simulator import Simulator
from harkara.graph_simulator.templates import MOST_UNVERIFIED, MOST_VERIFIED

Answer: TypeAlias = JsonObject | Refusal
Endpoint: TypeAlias = Callable[[Call], Awaitable[Answer]]
DONE: JsonObject = {"success": True}
_FILTERS = {"language": "language", "status": "status", "category": "category", "quality_score": "quality"}
"""Parameters of a list of templates, each with one value or several with commas, and the field that they choose by."""


def management_routes(simulator: Simulator) -> list[BaseRoute]:
    """The routes, the most special ones first."""
    table: list[tuple[str, str, Endpoint]] = [
        ("GET", "/{version}/oauth/access_token", app_token),
        ("POST", "/{version}/{node}/media", media.upload),
        ("POST", "/{version}/{node}/uploads", media.begin_upload),
        ("GET", "/{version}/{node}/phone_numbers", phone_numbers),
        ("GET", "/{version}/{node}/message_templates", message_templates),
        ("POST", "/{version}/{node}/message_templates", create_template),
        ("DELETE", "/{version}/{node}/message_templates", delete_templates),
        ("POST", "/{version}/{node}/unpause", unpause_template),
        ("GET", "/{version}/{node}/subscribed_apps", subscribed_apps),
        ("POST", "/{version}/{node}/subscribed_apps", subscribe_app),
        ("DELETE", "/{version}/{node}/subscribed_apps", unsubscribe_app),
        ("GET", "/{version}/{node}/subscriptions", subscribed_fields),
        ("POST", "/{version}/{node}/subscriptions", subscribe_fields),
        ("GET", "/{version}/{node}/block_users", block_list),
        ("POST", "/{version}/{node}/block_users", block_users),
        ("DELETE", "/{version}/{node}/block_users", unblock_users),
        ("POST", "/{version}/{node}/register", register),
        ("POST", "/{version}/{node}/deregister", deregister),
        ("GET", "/{version}/{node}", read),
        ("POST", "/{version}/{node}", change),
        ("POST", "/{version}/{node}/", change),
        ("DELETE", "/{version}/{node}", media.delete),
    ]
    routes: list[BaseRoute] = [
        Route(path, _endpoint(simulator, endpoint), methods=[method]) for method, path, endpoint in table
    ]
    routes.append(Route("/whatsapp_business/attachments/", media.download(simulator), methods=["GET"]))
    return routes


def _endpoint(simulator: Simulator, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        now = simulator.advance()
        found: Answer | None = bad_version(request)
        if found is None and simulator.scenario.management_refuse_code is not None:
            found = Refusal(simulator.scenario.management_refuse_code)
        call = Call(simulator, request, request.path_params.get("node", ""), now)
        if found is None:
            try:
                found = await endpoint(call)
            except ClientDisconnect:
                found = Refusal(1, "The request ended early.")
        code = found.code if isinstance(found, Refusal) else None
        simulator.calls.add(now, request.method, request.url.path, code)
        if isinstance(found, Refusal):
            return refused(found)
        usage = {} if call.usage is None else {"X-Business-Use-Case-Usage": call.usage}
        return json_answer(orjson.dumps(found), headers=usage)

    return answer


async def phone_numbers(call: Call) -> Answer:
    """GET /{waba}/phone_numbers."""
    waba = call.account()
    if isinstance(waba, Refusal):
        return waba
    simulator = call.simulator
    fields = fields_of(call.request.query_params.get("fields", ""))
    rows = [number_node(simulator.world, waba, number, fields, simulator.outbox.routes) for number in waba.numbers]
    return _listed(call, rows)


def _listed(call: Call, rows: list[JsonObject | Refusal]) -> Answer:
    wrong = next((row for row in rows if isinstance(row, Refusal)), None)
    return wrong or listed(call.request, [row for row in rows if isinstance(row, dict)])


async def message_templates(call: Call) -> Answer:
    """GET /{waba}/message_templates, filtered by name, language, status, category, quality_score."""
    waba = call.account()
    if isinstance(waba, Refusal):
        return waba
    query, rows = call.request.query_params, list(call.simulator.templates.of(waba.id))
    if "name" in query:
        rows = [row for row in rows if row.name == query["name"]]
    for parameter, name in _FILTERS.items():
        if parameter in query:
            wanted = query[parameter].split(",")
            rows = [row for row in rows if getattr(row, name) in wanted]
    fields = fields_of(query.get("fields", ""))
    answer = _listed(call, [template_node(call.simulator.world, waba, row, fields) for row in rows])
    if isinstance(answer, dict) and "summary" in query:
        answer["summary"] = {
            "total_count": len(rows),
            "message_template_count": len(call.simulator.templates.by_account[waba.id]),
            "message_template_limit": MOST_VERIFIED if waba.verified else MOST_UNVERIFIED,
            "are_translations_complete": True,
        }
    return answer


async def create_template(call: Call) -> Answer:
    """POST /{waba}/message_templates."""
    waba = call.account()
    if isinstance(waba, Refusal):
        return waba
    body = await call.body()
    return body if isinstance(body, Refusal) else call.simulator.templates.create(waba, body, call.now)


async def delete_templates(call: Call) -> Answer:
    """DELETE /{waba}/message_templates?name= | &hsm_id= | hsm_ids=[...]."""
    waba = call.account()
    if isinstance(waba, Refusal):
        return waba
    query = call.request.query_params
    ids = [query["hsm_id"]] if "hsm_id" in query else []
    if "hsm_ids" in query:
        ids = [one.strip(' "') for one in query["hsm_ids"].strip("[]").split(",")]
    if not ids and "name" not in query:
        return Refusal(100, message="(#100) The parameter name is required.")
    return call.simulator.templates.delete(waba, query.get("name"), ids, call.now) or DONE


async def unpause_template(call: Call) -> Answer:
    """POST /{template_id}/unpause."""
    waba, template = call.simulator.templates.by_id(call.node)
    refusal = call.may_manage(waba, None)
    if refusal is not None or waba is None or template is None:
        return refusal or unknown_object(call.node, "POST")
    return call.simulator.templates.unpause(waba, template, call.now)


async def read(call: Call) -> Answer:
    """GET /{id}: a number, an account, a template, an upload, or a resumable upload."""
    simulator, node = call.simulator, call.node
    fields = fields_of(call.request.query_params.get("fields", ""))
    line, waba = simulator.lines.get(node), simulator.wabas.get(node)
    owner, template = simulator.templates.by_id(node)
    account = line.waba if line else waba or owner
    if account is None:
        return media.read(call)
    refusal = call.may_manage(account, line.number if line else None)
    if refusal is not None:
        return refusal
    if line is not None:
        return number_node(simulator.world, account, line.number, fields, simulator.outbox.routes)
    if template is not None:
        return template_node(simulator.world, account, template, fields)
    return waba_node(simulator.world, account, fields)


async def change(call: Call) -> Answer:
    """POST /{id}: edits a template, sets a number's callback, or takes the bytes of a resumable upload."""
    simulator, node = call.simulator, call.node
    if node.startswith("upload:"):
        return await media.take_upload(call)
    waba, template = simulator.templates.by_id(node)
    if node in simulator.lines:
        return await override_of_number(call)
    refusal = call.may_manage(waba, None)
    if refusal is not None or waba is None or template is None:
        return refusal or unknown_object(node, "POST")
    body = await call.body()
    if isinstance(body, Refusal):
        return body
    return simulator.templates.edit(waba, template, body, call.now) or DONE
