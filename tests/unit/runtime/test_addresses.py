"""Settings that are addresses: a wrong one is one sentence at the start, not a refusal of every message."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harkara.dispatcher.settings import Settings as Dispatcher
from harkara.quality_monitor.settings import Settings as QualityMonitor
from harkara.runtime.serve import load
from harkara.runtime.settings import ServiceSettings
from harkara.template_manager.settings import Settings as TemplateManager

ASKING_META = [Dispatcher, TemplateManager, QualityMonitor]
WRONG = [
    "graph.facebook.com",
    "htps://graph.facebook.com",
    "http://",
    "https:///v1",
    "https://graph.facebook.com:99999",
    "https://graph.facebook.com:0",
    "https://[::1",
    "https://graph.facebook.com\n",
    "https://graph .facebook.com",
    "https://gr\u00e4ph.facebook.com",
    "https://asha:EAATEST@graph.facebook.com",
    "https://graph.facebook.com?a=b",
    "",
]
RIGHT = ["https://graph.facebook.com", "http://127.0.0.1:8080", "http://[::1]:8080", "http://graph-simulator:8080/sub"]


@pytest.mark.parametrize("settings", ASKING_META)
@pytest.mark.parametrize("given", WRONG)
def test_an_address_of_meta_that_is_none_is_refused(settings: type[ServiceSettings], given: str) -> None:
    with pytest.raises(ValidationError, match="HARKARA_GRAPH_BASE_URL must be an address such as") as failure:
        settings.model_validate({"graph_base_url": given})
    assert "EAATEST" not in str(failure.value.errors(include_input=False))


@pytest.mark.parametrize("settings", ASKING_META)
@pytest.mark.parametrize("given", RIGHT)
def test_one_that_is_one_is_taken_as_it_is(settings: type[ServiceSettings], given: str) -> None:
    assert settings.model_validate({"graph_base_url": given}).model_dump()["graph_base_url"] == given


@pytest.mark.parametrize("settings", ASKING_META)
def test_the_version_of_the_api_is_a_part_of_the_address(settings: type[ServiceSettings]) -> None:
    for given in ("26.0", "v26", "v26.0/", "v26.0 ", ""):
        with pytest.raises(ValidationError):
            settings.model_validate({"graph_version": given})
    assert settings.model_validate({"graph_version": "v30.1"})


def test_every_service_says_where_its_traces_go() -> None:
    with pytest.raises(ValidationError, match="HARKARA_OTLP_ENDPOINT must be an address"):
        ServiceSettings.model_validate({"otlp_endpoint": "127.0.0.1:4318"})


def test_the_process_does_not_start_and_says_why_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARKARA_GRAPH_BASE_URL", "graph.facebook.com")
    with pytest.raises(SystemExit) as failure:
        load("dispatcher")
    assert str(failure.value) == (
        "dispatcher: graph_base_url: HARKARA_GRAPH_BASE_URL must be an address such as https://graph.facebook.com: "
        "it begins with neither https:// nor http://"
    )
