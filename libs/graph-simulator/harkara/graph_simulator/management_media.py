"""Media over HTTP: upload, URL, download, delete; and the resumable uploads whose handles templates need."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from harkara.graph_api.media_kinds import KINDS
from harkara.graph_simulator.bodies import JsonObject
from harkara.graph_simulator.lines import Line
from harkara.graph_simulator.management_call import Call
from harkara.graph_simulator.media import Media, check_upload
from harkara.graph_simulator.refusals import Refusal, unknown_object
from harkara.graph_simulator.simulator import Simulator

MAX_UPLOAD_BYTES = max(kind.most_bytes for kind in KINDS.values())
"""Meta's largest kind, a document."""
HANDLE_TYPES = frozenset({"application/pdf", "image/jpeg", "image/jpg", "image/png", "video/mp4"})
"""What a resumable upload may be (Meta, Resumable Upload API)."""


async def upload(call: Call) -> JsonObject | Refusal:
    """POST /{phone_number_id}/media (multipart: messaging_product, type, file)."""
    line = call.simulator.lines.get(call.node)
    waba, number = (line.waba, line.number) if line is not None else (None, None)
    refusal = call.simulator.access.authorise(call.token, waba, number)
    if refusal is not None or line is None:
        return refusal or unknown_object(call.node, "POST")
    if "multipart/form-data" not in call.request.headers.get("content-type", ""):
        return Refusal(100, message="(#100) The parameter messaging_product is required.")
    return await _take_file(call, line)


async def _take_file(call: Call, line: Line) -> JsonObject | Refusal:
    try:
        async with call.request.form(max_files=1, max_fields=8) as form:
            file = form.get("file")
            if form.get("messaging_product") != "whatsapp":
                return Refusal(100, message="(#100) The parameter messaging_product is required.")
            if not isinstance(file, UploadFile):
                return Refusal(100, message="(#100) The parameter file is required.")
            mime_type = str(form.get("type") or file.content_type or "").split(";")[0].strip()
            refusal = check_upload(mime_type, file.size or 0, await file.read(64))
            if refusal is not None:
                return refusal
            await file.seek(0)
            content = await file.read()
    except HTTPException:  # what starlette makes of a body that is no multipart/form-data
        return Refusal(100, message="(#100) The request body is not valid multipart/form-data.")
    digest = hashlib.sha256(content).hexdigest()
    media = call.simulator.media.add(line.waba.id, mime_type, digest, len(content), call.now, content)
    return {"id": media.id}


def _found(call: Call) -> Media | Refusal:
    simulator = call.simulator
    media = simulator.media.get(call.node, call.now, simulator.scenario.time_scale)
    waba = simulator.wabas[media.waba_id] if media is not None else None
    refusal = simulator.access.authorise(call.token, waba, None)
    of_number = call.request.query_params.get("phone_number_id")
    if media is not None and of_number is not None:
        line = simulator.lines.get(of_number)
        media = media if line is not None and line.waba.id == media.waba_id else None
    if refusal is not None or media is None:
        return refusal or unknown_object(call.node, call.request.method)
    return media


def read(call: Call) -> JsonObject | Refusal:
    """GET /{media_id}, whose `url` holds for 5 minutes; or GET /upload:..., whose `file_offset` says what came."""
    session = call.simulator.media.session(call.node)
    if session is not None:
        refusal = call.simulator.access.authorise(call.token, None, None)
        return refusal or {"id": session.id, "file_offset": len(session.content)}
    media = _found(call)
    if isinstance(media, Refusal):
        return media
    base = str(call.request.base_url).rstrip("/")
    return {
        "messaging_product": "whatsapp",
        "url": base + call.simulator.media.url_path(media, call.now),
        "mime_type": media.mime_type,
        "sha256": media.sha256,
        "file_size": str(media.size),
        "id": media.id,
    }


async def delete(call: Call) -> JsonObject | Refusal:
    """DELETE /{media_id}."""
    media = _found(call)
    if isinstance(media, Refusal):
        return media
    call.simulator.media.delete(media.id)
    return {"success": True}


def download(simulator: Simulator) -> Callable[[Request], Awaitable[Response]]:
    """GET of a media URL: the bytes, for a bearer token of the account, while the URL holds; else 401 or 404."""

    async def answer(request: Request) -> Response:
        query, now = request.query_params, simulator.advance()
        media = simulator.media.get(query.get("mid", ""), now, simulator.scenario.time_scale)
        waba = simulator.wabas[media.waba_id] if media is not None else None
        if simulator.access.authorise(request.headers.get("authorization"), waba, None) is not None:
            return Response(status_code=401)
        key = query.get("hash", "").encode()
        if media is None or now > media.url_until or not hmac.compare_digest(key, media.url_key.encode()):
            return Response(status_code=404)
        if media.content is None:
            return Response(status_code=404)
        return Response(media.content, media_type=media.mime_type)

    return answer


async def begin_upload(call: Call) -> JsonObject | Refusal:
    """POST /{app_id}/uploads?file_name=&file_length=&file_type=."""
    refusal = call.simulator.access.authorise(call.token, None, None)
    if refusal is not None or call.node != call.simulator.world.app_id:
        return refusal or unknown_object(call.node, "POST")
    query = call.request.query_params
    length, kind = query.get("file_length", ""), query.get("file_type", "")
    if not (length.isascii() and length.isdigit() and len(length) < 12 and 0 < int(length) <= MAX_UPLOAD_BYTES):
        return Refusal(100, message="(#100) The parameter file_length is required.")
    if kind not in HANDLE_TYPES:
        return Refusal(100, message="(#100) Param file_type must be one of the supported types.")
    return {"id": call.simulator.media.open_session(kind, int(length)).id}


async def take_upload(call: Call) -> JsonObject | Refusal:
    """POST /upload:... with the bytes from `file_offset` on: the handle once all are there."""
    simulator, session = call.simulator, call.simulator.media.session(call.node)
    token = (call.token or "").replace("OAuth ", "Bearer ")  # Meta's examples of this call have OAuth
    refusal = simulator.access.authorise(token, None, None)
    if refusal is not None or session is None:
        return refusal or unknown_object(call.node[:100], "POST")
    offset = call.request.headers.get("file_offset", "0")
    if offset != str(len(session.content)):
        return Refusal(100, message="(#100) Param file_offset is not where the upload stands.")
    async for chunk in call.request.stream():
        if len(session.content) + len(chunk) > session.size:
            return Refusal(100, message="(#100) The file is longer than file_length.")
        session.content += chunk
    if len(session.content) < session.size:
        return {"id": session.id, "file_offset": len(session.content)}
    return {"h": simulator.media.close_session(session, call.now)}
