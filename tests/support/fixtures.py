"""Fixtures: one broker and one Postgres a session, isolated by prefix and database."""

from __future__ import annotations

import os
import uuid

import pytest


@pytest.fixture(scope="session")
def kafka_bootstrap() -> str:
    return os.environ["HARKARA_KAFKA_BOOTSTRAP"]


@pytest.fixture
def topic_prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}."
