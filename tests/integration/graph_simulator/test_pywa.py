"""An unmodified pywa client against the simulator: it sends, uploads, manages, and parses what the simulator signs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from pywa.client import WhatsApp
from pywa.errors import WhatsAppError
from pywa.types import templates

from harkara.graph_simulator.local import Running, running
from harkara.graph_simulator.scenario import Scenario
from harkara.graph_simulator.settings import Settings

SECRET, VERIFY = "webhook-secret", "verify-me"
t: Any = templates  # its methods are made by descriptors that mypy cannot follow, and so are those of the client
NUMBER, WABA, APP = "100000000000001", "112233445566778", "776655443322110"
PERSON = "+919999912345"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
QUICK = Scenario(
    sent_ms=5, delivered_ms=15, read_ms=10, review_ms=20, read_probability=1, jitter=0, time_scale=100_000, window="off"
)


@dataclass
class Inbox:
    """A webhook endpoint in a thread: answers the challenge, keeps every POST with its signature."""

    url: str = ""
    posts: list[tuple[bytes, str]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def until(self, found: Callable[[], bool], seconds: float = 10.0) -> None:
        """Waits for the condition, looked at whenever something arrives."""
        with self.arrived:
            assert self.arrived.wait_for(found, seconds), "not in time"


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    kept = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            good = query.get("hub.verify_token") == [VERIFY]
            self.answer(200 if good else 403, query.get("hub.challenge", [""])[0].encode() if good else b"")

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            with kept.arrived:
                kept.posts.append((raw, self.headers["X-Hub-Signature-256"]))
                kept.arrived.notify_all()
            self.answer(200, b"")

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}/webhooks"
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def meta(inbox: Inbox) -> Iterator[Running]:
    secret = SecretStr(SECRET)
    settings = Settings(sim_webhook_url=inbox.url, sim_app_secret=secret, sim_scenario=QUICK, sim_webhook_batch=1)
    with running(settings) as found:  # one update in each POST: pywa looks at the first of a batch alone
        yield found


class ToSimulator(httpx.HTTPTransport):
    """The network in which graph.facebook.com is the simulator; pywa itself is as it is installed."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base = httpx.URL(base_url)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "graph.facebook.com":
            request.url = request.url.copy_with(scheme="http", host=self._base.host, port=self._base.port)
        return super().handle_request(request)


@pytest.fixture
def pywa(meta: Running) -> Iterator[Any]:
    with httpx.Client(transport=ToSimulator(meta.base_url), timeout=10) as session:
        yield WhatsApp(
            phone_id=NUMBER,
            token="EAATEST-system-user",
            session=session,
            server=None,
            waba_id=WABA,
            app_id=APP,
            app_secret=SECRET,
            verify_token=VERIFY,
            skip_duplicate_updates=False,
        )


def read_by_pywa(pywa: Any, inbox: Inbox) -> None:
    """Every POST so far, through pywa's own check of the signature and its own parsing."""
    for raw, signature in inbox.posts:
        assert pywa.webhook_update_validator(raw, signature) is None, "pywa refuses the signature"
        assert pywa.webhook_update_handler(raw)[1] == 200


@pytest.mark.req("B19", "DX-1")
def test_text_template_and_media_go_out_and_their_statuses_are_parsed(pywa: Any, inbox: Inbox) -> None:
    seen: list[tuple[str, str]] = []
    pywa.on_message_status(lambda _, status: seen.append((status.id, status.status.value)))
    text = pywa.send_message(PERSON, "नमस्ते 🙏 <https://a.example.test/x>", tracker="msg-00000001.1")
    values = [t.BodyText.params("Asha", "ORD-221")]
    template = pywa.send_template(PERSON, "order_update", t.TemplateLanguage.ENGLISH, values)
    media = pywa.upload_media(PNG, mime_type="image/png", filename="a.png")
    image = pywa.send_image(PERSON, image=media.id, caption="A picture")
    link = pywa.send_document(PERSON, document="https://files.example.test/a.pdf", filename="a.pdf", caption="A file")
    sent = [text.id, template.id, image.id, link.id]
    assert all(wamid.startswith("wamid.") for wamid in sent)
    inbox.until(lambda: b"".join(raw for raw, _ in inbox.posts).count(b'"status":"read"') == 4)
    read_by_pywa(pywa, inbox)
    for wamid in sent:
        assert {status for found, status in seen if found == wamid} == {"sent", "delivered", "read"}


def test_a_person_writes_and_is_answered_and_blocked(pywa: Any, meta: Running, inbox: Inbox) -> None:
    texts: list[str] = []
    pywa.on_message(lambda _, message: texts.append(message.text or message.type.value))
    written = {"phone_number_id": NUMBER, "sender": PERSON, "text": "Hello"}
    file = {"mime_type": "image/png", "content_base64": "iVBORw0KGgo="}
    with httpx.Client(base_url=meta.base_url) as control:
        wamid = control.post("/_simulator/inbound", json=written).json()["wamid"]
        control.post("/_simulator/inbound", json={**written, "text": None, "media": file}).raise_for_status()
        inbox.until(lambda: b"".join(raw for raw, _ in inbox.posts).count(b'"messages":[') >= 1)
        inbox.until(lambda: b"".join(raw for raw, _ in inbox.posts).count(b'"from":') == 2)
        read_by_pywa(pywa, inbox)
        assert sorted(texts) == ["Hello", "image"]
        assert pywa.mark_message_as_read(wamid).success
        assert pywa.indicate_typing(wamid).success
        pywa.block_users([PERSON])
        assert [user.wa_id for user in pywa.get_blocked_users()] == ["919999912345"]
        with pytest.raises(WhatsAppError) as refused:
            pywa.send_message(PERSON, "Hello again")
        assert refused.value.code == 130403
        pywa.unblock_users([PERSON])
    assert pywa.send_message(PERSON, "Hello again").id


def test_media_comes_back_as_it_went(pywa: Any) -> None:
    media = pywa.upload_media(PNG, mime_type="image/png", filename="a.png")
    url = pywa.get_media_url(media.id)
    assert pywa.get_media_bytes(url=url.url) == PNG
    assert pywa.delete_media(media.id).success
    with pytest.raises(WhatsAppError) as gone:
        pywa.get_media_url(media.id)
    assert gone.value.subcode == 33
    with pytest.raises(WhatsAppError):
        pywa.upload_media(b"%PDF-1.7", mime_type="image/png", filename="a.png")


def test_a_template_lives_from_its_submission_to_its_deletion(pywa: Any, meta: Running, inbox: Inbox) -> None:
    events: list[str] = []
    pywa.on_template_status_update(lambda _, update: events.append(update.new_status.value))
    body = t.BodyText("Hello {{name}}, your parcel {{parcel}} is on its way.", name="Asha", parcel="P-1")
    picture = t.HeaderImage(example=PNG, mime_type="image/png")
    stop = t.Buttons(buttons=[t.QuickReplyButton(text="Stop")])
    wanted = t.Template(
        name="parcel_on_its_way",
        language=t.TemplateLanguage.ENGLISH_US,
        category=t.TemplateCategory.UTILITY,
        parameter_format=t.ParamFormat.NAMED,
        components=[picture, body, t.FooterText(text="Reply STOP to opt out"), stop],
    )
    made = pywa.create_template(wanted)
    assert made.status == t.TemplateStatus.PENDING
    inbox.until(lambda: any(b'"event":"APPROVED"' in raw for raw, _ in inbox.posts))
    found = pywa.get_template(made.id)
    assert (found.name, found.status, found.category) == (wanted.name, t.TemplateStatus.APPROVED, wanted.category)
    assert wanted.name in {one.name for one in pywa.get_templates()}
    media = pywa.upload_media(PNG, mime_type="image/png", filename="a.png")
    params = [t.HeaderImage.params(image=media.id), t.BodyText.params(name="Asha", parcel="P-1")]
    tap = t.QuickReplyButton.params(callback_data="STOP", index=0)
    assert pywa.send_template(PERSON, wanted.name, t.TemplateLanguage.ENGLISH_US, [*params, tap]).id
    rated = {"name": wanted.name, "language": "en_US", "quality": "RED"}
    with httpx.Client(base_url=meta.base_url) as control:
        control.post(f"/_simulator/wabas/{WABA}/templates", json=rated).raise_for_status()
    inbox.until(lambda: any(b"UNPAUSE" in raw for raw, _ in inbox.posts))
    assert pywa.delete_template(wanted.name).success
    inbox.until(lambda: any(b"PENDING_DELETION" in raw for raw, _ in inbox.posts))
    read_by_pywa(pywa, inbox)
    assert events == ["APPROVED", "PAUSED", "APPROVED", "PENDING_DELETION"]


def test_the_callback_is_verified_before_it_is_taken(pywa: Any, meta: Running, inbox: Inbox) -> None:
    other = inbox.url.replace("/webhooks", "/other")
    token = pywa.get_app_access_token(APP, SECRET)
    assert pywa.set_app_callback_url(APP, token, other, VERIFY, ["messages"]).success
    assert meta.simulator.outbox.routes.app_url == other
    with pytest.raises(WhatsAppError):
        pywa.override_waba_callback_url(callback_url=inbox.url, verify_token="wrong")
    assert pywa.override_waba_callback_url(callback_url=inbox.url, verify_token=VERIFY).success
    assert pywa.override_phone_callback_url(callback_url=inbox.url, verify_token=VERIFY).success
    assert pywa.delete_phone_callback_url().success
    assert pywa.delete_waba_callback_url().success


def test_what_pywa_reads_of_numbers_and_accounts(pywa: Any) -> None:
    number = pywa.get_business_phone_number()
    assert (number.id, str(number.quality_rating)) == (NUMBER, "GREEN")
    assert [one.id for one in pywa.get_business_phone_numbers()] == [NUMBER, "100000000000002", "100000000000003"]
    assert pywa.get_business_account().id == WABA
    assert pywa.deregister_phone_number().success
    with pytest.raises(WhatsAppError) as refused:
        pywa.send_message(PERSON, "x")
    assert refused.value.code == 133010
    assert pywa.register_phone_number("123456").success
    assert pywa.send_message(PERSON, "x").id
