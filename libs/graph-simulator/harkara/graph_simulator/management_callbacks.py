"""Where webhooks go, as Meta lets it be set: the app's subscription, and the overrides of accounts and numbers."""

from __future__ import annotations

from harkara.graph_simulator.bodies import JsonObject
from harkara.graph_simulator.management_call import Call
from harkara.graph_simulator.refusals import Refusal, unknown_object
from harkara.graph_simulator.subscriptions import FIELDS, MAX_CALLBACK, answers_challenge

_NOT_VERIFIED = "(#2200) Callback verification failed: the callback did not answer the challenge."
DONE: JsonObject = {"success": True}


async def app_token(call: Call) -> JsonObject | Refusal:
    """GET /oauth/access_token?grant_type=client_credentials&client_id=&client_secret=: the app's own token."""
    query, simulator = call.request.query_params, call.simulator
    if query.get("client_id") != simulator.world.app_id or query.get("client_secret") != simulator.app_secret():
        return Refusal(101, message="Error validating application. Invalid application ID.", http_status=400)
    return {"access_token": simulator.access.app_token(simulator.app_secret()), "token_type": "bearer"}


async def _verified(url: object, verify_token: object) -> Refusal | None:
    """A callback must be a URL of at most 200 characters that answers the challenge."""
    if not isinstance(url, str) or not url.startswith(("https://", "http://")) or len(url) > MAX_CALLBACK:
        return Refusal(100, message="(#100) Param override_callback_uri must be a URL of at most 200 characters.")
    if not isinstance(verify_token, str) or not verify_token:
        return Refusal(100, message="(#100) The parameter verify_token is required.")
    return None if await answers_challenge(url, verify_token) else Refusal(2200, message=_NOT_VERIFIED, http_status=400)


async def subscribed_apps(call: Call) -> JsonObject | Refusal:
    """GET /{waba}/subscribed_apps."""
    waba = call.account()
    if isinstance(waba, Refusal):
        return waba
    routes, app_id = call.simulator.outbox.routes, call.simulator.world.app_id
    if waba.id in routes.unsubscribed:
        return {"data": []}
    link = f"https://www.facebook.com/games/?app_id={app_id}"
    row: JsonObject = {"whatsapp_business_api_data": {"id": app_id, "name": "Simulated App", "link": link}}
    if waba.id in routes.accounts:
        row["override_callback_uri"] = routes.accounts[waba.id]
    return {"data": [row]}


async def subscribe_app(call: Call) -> JsonObject | Refusal:
    """POST /{waba}/subscribed_apps: subscribes; with override_callback_uri sets it, without it takes it away."""
    waba = call.account()
    if isinstance(waba, Refusal):
        return waba
    body = await call.body()
    if isinstance(body, Refusal):
        return body
    routes, url = call.simulator.outbox.routes, body.get("override_callback_uri")
    if url is None:
        routes.accounts.pop(waba.id, None)
    else:
        refusal = await _verified(url, body.get("verify_token"))
        if refusal is not None:
            return refusal
        routes.accounts[waba.id] = str(url)
    routes.unsubscribed.discard(waba.id)
    return DONE


async def unsubscribe_app(call: Call) -> JsonObject | Refusal:
    """DELETE /{waba}/subscribed_apps: no webhook of the account goes out until it is subscribed again."""
    waba = call.account()
    if isinstance(waba, Refusal):
        return waba
    call.simulator.outbox.routes.unsubscribed.add(waba.id)
    return DONE


async def override_of_number(call: Call) -> JsonObject | Refusal:
    """POST /{phone_number_id} `{webhook_configuration: {override_callback_uri, verify_token}}`; "" takes it away."""
    line = call.line()
    if isinstance(line, Refusal):
        return line
    body = await call.body()
    if isinstance(body, Refusal):
        return body
    configuration = body.get("webhook_configuration")
    if not isinstance(configuration, dict) or set(body) != {"webhook_configuration"}:
        return Refusal(100, message="(#100) The parameter webhook_configuration is required.")
    numbers, url = call.simulator.outbox.routes.numbers, configuration.get("override_callback_uri")
    if url == "":
        numbers.pop(line.number.phone_number_id, None)
        return DONE
    refusal = await _verified(url, configuration.get("verify_token"))
    if refusal is None:
        numbers[line.number.phone_number_id] = str(url)
    return refusal or DONE


def _app(call: Call) -> Refusal | None:
    simulator = call.simulator
    query_token = call.request.query_params.get("access_token")
    refusal = simulator.access.authorise_app(call.token, query_token, simulator.app_secret())
    if refusal is not None or call.node != simulator.world.app_id:
        return refusal or unknown_object(call.node, call.request.method)
    return None


async def subscribed_fields(call: Call) -> JsonObject | Refusal:
    """GET /{app_id}/subscriptions."""
    refusal = _app(call)
    if refusal is not None:
        return refusal
    routes = call.simulator.outbox.routes
    if routes.app_url is None:
        return {"data": []}
    names = FIELDS if routes.fields is None else sorted(routes.fields)
    fields = [{"name": name, "version": call.simulator.scenario.payload_version} for name in names]
    row = {"object": "whatsapp_business_account", "callback_url": routes.app_url, "active": True, "fields": fields}
    return {"data": [row]}


async def subscribe_fields(call: Call) -> JsonObject | Refusal:
    """POST /{app_id}/subscriptions: object, callback_url, verify_token, fields (with commas)."""
    refusal = _app(call)
    if refusal is not None:
        return refusal
    body = await call.body()
    if isinstance(body, Refusal):
        return body
    wanted = {**dict(call.request.query_params), **body}
    if wanted.get("object") != "whatsapp_business_account":
        return Refusal(100, message="(#100) Param object must be whatsapp_business_account.")
    fields = frozenset(name.strip() for name in str(wanted.get("fields") or "").split(",") if name.strip())
    if not fields or not fields <= set(FIELDS):
        return Refusal(100, message="(#100) Param fields must be fields of whatsapp_business_account.")
    refusal = await _verified(wanted.get("callback_url"), wanted.get("verify_token"))
    if refusal is None:
        routes = call.simulator.outbox.routes
        routes.app_url, routes.fields = str(wanted["callback_url"]), fields
    return refusal or DONE
