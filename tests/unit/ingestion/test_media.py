"""Files in a request: what Meta would not take is refused at once, with a sentence that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from harkara.contracts.intents import Media
from harkara.graph_api.wire import build_message
from harkara.ingestion.requests import SendRequest

TO = "+919999912345"


def request(**media: Any) -> SendRequest:
    return SendRequest.model_validate({"to": TO, "media": media})


@pytest.mark.req("MED-1")
def test_a_file_goes_by_link_or_by_id_as_meta_wants_it() -> None:
    link = request(type="document", link="https://a.example.test/a.pdf", filename="a.pdf", mimeType="application/pdf")
    assert build_message(TO, link.content(), "o")["document"] == {
        "link": "https://a.example.test/a.pdf",
        "filename": "a.pdf",
    }
    sticker = request(type="sticker", id="2754859441000001", mimeType="image/webp", sizeBytes=90_000)
    assert sticker.content() == Media(type="sticker", id="2754859441000001")
    assert build_message(TO, sticker.content(), "o")["sticker"] == {"id": "2754859441000001"}


@pytest.mark.req("MED-1", "MED-2")
@pytest.mark.parametrize(
    ("media", "said"),
    [
        ({"type": "image", "link": "https://a.example.test/a.gif"}, "Meta takes no GIF"),
        ({"type": "document", "link": "https://a.example.test/a.zip"}, "Meta takes no ZIP"),
        ({"type": "image", "id": "1", "mimeType": "image/webp"}, "sticker"),
        ({"type": "image", "id": "1", "sizeBytes": 5_000_001}, "5 MB at most (Meta)"),
        ({"type": "document", "id": "1", "sizeBytes": 16_000_001}, "16 MB at most (policy)"),
        ({"type": "image", "id": "1", "link": "https://a.example.test/a.png"}, "either id or link"),
        ({"type": "audio", "id": "1", "caption": "x"}, "takes no caption"),
        ({"type": "image", "link": "http://a.example.test/a.png"}, "link"),
        ({"type": "image", "id": ""}, "id"),
    ],
)
def test_what_meta_would_not_take_is_refused_with_a_reason(media: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("(", r"\(").replace(")", r"\)")):
        request(**media)


@pytest.mark.req("MED-1")
def test_the_file_of_a_templates_header_is_looked_at_too() -> None:
    header = {"type": "image", "link": "https://a.example.test/a.gif"}
    template = {"name": "offer", "language": "en", "header": header}
    with pytest.raises(ValidationError, match="template header: Meta takes no GIF"):
        SendRequest.model_validate({"to": TO, "category": "marketing", "template": template})
