"""governance.yaml is changed while the guard runs: at once, or not at all; and every version is on record."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

from harkara.compliance_guard.app import create
from harkara.compliance_guard.settings import Settings
from harkara.contracts.audit import AuditRecord
from harkara.contracts.topics import AUDIT_LOG
from harkara.policy.explain import decided_again
from harkara.policy.governance import load
from harkara.policy.reload import from_record
from tests.integration.compliance_guard.test_compliance_guard import PEPPER, decided, intent, send, steps
from tests.support.kafka import read_all
from tests.support.services import GOVERNANCE_FILE, isolated, ready, running
from tests.support.wait import eventually

POLICY = GOVERNANCE_FILE.read_text(encoding="utf-8")


@pytest.mark.req("OPS-8", "B11")
async def test_a_changed_policy_counts_at_once_and_a_wrong_one_never(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    file = tmp_path / "governance.yaml"
    file.write_text(POLICY, encoding="utf-8")
    settings = await isolated(
        Settings, kafka_bootstrap, topic_prefix, tmp_path, governance_file=file, pepper=SecretStr(PEPPER)
    )
    service = create(settings)
    async with running(service.components):
        await ready(service.components)
        await send(settings, intent("m-first-0001"))
        assert await decided(settings, "m-first-0001") == "cleared"
        file.write_text(POLICY.replace("consent_mode: opt_out", "consent_mode: none"), encoding="utf-8")
        await eventually(lambda: REGISTRY.get_sample_value("harkara_policy_refused") == 1, timeout_seconds=20)
        await send(settings, intent("m-second-001"))
        assert await decided(settings, "m-second-001") == "cleared"
        file.write_text(POLICY.replace("consent_mode: opt_out", "consent_mode: explicit"), encoding="utf-8")
        await eventually(lambda: REGISTRY.get_sample_value("harkara_policy_refused") == 0, timeout_seconds=20)
        await send(settings, intent("m-third-0001"))
        assert await decided(settings, "m-third-0001") == "no_opt_in"
    policies = await recorded(settings)
    assert set(policies) == {load(GOVERNANCE_FILE).version, load(file).version}
    for message, of_message in (await steps(settings)).items():
        [decision] = [step.decision for step in of_message.values() if step.decision is not None]
        newest = message == "m-third-0001"
        assert decision.policy_version == (load(file) if newest else load(GOVERNANCE_FILE)).version
        assert decided_again(decision, from_record(policies[decision.policy_version], decision.policy_version)).same


async def recorded(settings: Settings) -> dict[str, str]:
    """The content of each policy that came into force, by version."""
    records = await read_all(settings.kafka.bootstrap, settings.kafka.topic(AUDIT_LOG))
    audit = [AuditRecord.model_validate_json(record.value or b"") for record in records]
    return {each.subject: each.details["content"] for each in audit if each.action == "policy_applied"}
