"""In which language a template goes, and with whose values."""

from __future__ import annotations

from typing import Any

import pytest

from harkara.contracts.intents import Template
from harkara.policy.language import wordings

CHAINS = {"mr": ("hi", "en"), "hi": ("en",), "pt": ("es",)}


def template(*variants: dict[str, Any], language: str = "en") -> Template:
    fields: dict[str, Any] = {
        "name": "daily_advice",
        "language": language,
        "header": "Advice",
        "body": ["Asha", "hold"],
    }
    return Template.model_validate(fields | {"variants": variants})


HINDI = {"language": "hi", "body": ["आशा", "रखें"]}
MARATHI = {"language": "mr"}


@pytest.mark.req("RTW-8", "TPL-7")
@pytest.mark.parametrize(
    ("wanted", "variants", "expected"),
    [
        (None, [HINDI], "en"),
        ("en", [HINDI], "en"),
        ("hi", [HINDI], "hi"),
        ("hi_IN", [HINDI], "hi"),
        ("mr", [HINDI, MARATHI], "mr"),
        ("mr", [HINDI], "hi"),
        ("mr_IN", [HINDI], "hi"),
        ("mr", [], "en"),
        ("hi", [], "en"),
        ("fr", [HINDI], "en"),
        ("pt_BR", [{"language": "pt_BR"}], "pt_BR"),
        ("pt_BR", [{"language": "pt"}], "pt"),
        ("pt_BR", [{"language": "es"}], "es"),
        ("pt", [{"language": "pt_BR"}], "en"),
    ],
)
def test_the_first_language_of_the_chain_that_is_there(
    wanted: str | None, variants: list[dict[str, Any]], expected: str
) -> None:
    found = wordings(template(*variants), wanted, CHAINS)[0]
    assert found.language == expected
    assert found.variants == ()
    assert found.name == "daily_advice"


def test_what_a_variant_does_not_give_is_the_templates_own() -> None:
    assert wordings(template(HINDI), "hi", CHAINS)[0] == Template(
        name="daily_advice", language="hi", header="Advice", body=("आशा", "रखें")
    )
    assert wordings(template(MARATHI), "mr", CHAINS)[0].body == ("Asha", "hold")
    assert wordings(template(HINDI | {"header": "सलाह"}), "hi", CHAINS)[0].header == "सलाह"
    named = Template.model_validate(
        {
            "name": "a",
            "language": "en",
            "named": {"who": "Asha"},
            "variants": [{"language": "hi", "named": {"who": "आशा"}}],
        }
    )
    assert wordings(named, "hi", CHAINS)[0].named == {"who": "आशा"}
    assert wordings(named, "en", CHAINS)[0].named == {"who": "Asha"}


def test_a_chain_that_ends_in_no_language_of_the_template_leaves_it_as_it_is() -> None:
    assert wordings(template(HINDI, language="ta"), "mr", {"mr": ("kn",)})[0].language == "ta"
