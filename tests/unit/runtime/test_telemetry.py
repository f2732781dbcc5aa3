"""What a log line may not show."""

from __future__ import annotations

import pytest

from harkara.runtime.settings import KafkaSettings, ServiceSettings
from harkara.runtime.telemetry import MASK, new_traceparent, redact, span


def test_secrets_are_masked_at_any_depth() -> None:
    event = {
        "event": "sending to +919999912345 with Bearer EAATESTabcdef",
        "message_id": "m-1",
        "order": {"to": "+919999912345", "plan": [{"text": "hello"}, "token EAATEST12345"]},
    }
    assert redact(event) == {
        "event": f"sending to {MASK} with {MASK}",
        "message_id": "m-1",
        "order": {"to": MASK, "plan": [{"text": MASK}, f"token {MASK}"]},
    }


def test_a_trace_goes_on_without_an_exporter() -> None:
    given = new_traceparent()
    with span("step", given) as running:
        assert running.traceparent == given
    with span("step", None) as running:
        assert len(running.traceparent) == 55


def test_a_short_pepper_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 characters"):
        ServiceSettings(pepper="short").pepper_bytes()


def test_sasl_without_a_password_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="HARKARA_KAFKA_SASL_PASSWORD"):
        KafkaSettings(security_protocol="SASL_SSL")


@pytest.mark.req("SEC-3")
def test_tls_to_kafka_is_1_3_or_nothing() -> None:
    import ssl

    context = KafkaSettings(security_protocol="SSL").ssl_context()
    assert context is not None and context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert KafkaSettings().ssl_context() is None
    assert KafkaSettings(security_protocol="SSL").librdkafka_options()["security.protocol"] == "SSL"
