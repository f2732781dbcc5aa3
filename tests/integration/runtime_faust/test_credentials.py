"""Faust logs in to Kafka exactly as the other clients do."""

from __future__ import annotations

from pathlib import Path

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from pydantic import SecretStr

from harkara.runtime.faust_app import ProjectionApp, faust_credentials, new_app
from harkara.runtime.settings import KafkaSettings, ServiceSettings

PASSWORD = SecretStr("test-password")


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_the_same_protocol_and_credentials(protocol: str, mechanism: str) -> None:
    kafka = KafkaSettings.model_validate(
        {
            "security_protocol": protocol,
            "sasl_mechanism": mechanism,
            "sasl_username": "harkara",
            "sasl_password": PASSWORD,
        }
    )
    wanted = {key: value for key, value in kafka.aiokafka_options().items() if key != "bootstrap_servers"}
    given = dict(credentials_to_aiokafka_auth(faust_credentials(kafka), None))
    contexts = given.pop("ssl_context", None), wanted.pop("ssl_context", None)
    assert given == wanted
    assert [context is not None for context in contexts] == ["SSL" in protocol] * 2
    if contexts[0] is not None and contexts[1] is not None:
        assert contexts[0].minimum_version == contexts[1].minimum_version


async def test_no_app_declares_a_leader_topic_or_a_web_server(tmp_path: Path) -> None:
    app: ProjectionApp = new_app(ServiceSettings(data_dir=tmp_path, instance="test-0"), "fold")
    assert (app.conf.topic_disable_leader, app.conf.web_enabled) == (True, False)
    assert app.conf.broker_session_timeout == 8.0
    assert app.conf.datadir == tmp_path / "test-0" / "fold"
