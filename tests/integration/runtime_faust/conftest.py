"""Settings of a projection that meets nobody else's topics."""

from __future__ import annotations

from pathlib import Path

import pytest

from harkara.runtime.settings import ServiceSettings
from tests.integration.runtime_faust import folds


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> ServiceSettings:
    """Its topics are not there yet."""
    return folds.settings_for(kafka_bootstrap, topic_prefix, tmp_path)


@pytest.fixture
async def on_topics(settings: ServiceSettings) -> ServiceSettings:
    """The same, with its topics there."""
    await folds.create(settings, [folds.INPUT, folds.STATE])
    return settings
