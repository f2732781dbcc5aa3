"""Fixtures: one broker and one Postgres a session, isolated by topic prefix and by database."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from harkara.devstack.brokers import Server, pick_kafka, pick_postgres
from harkara.devstack.ports import free_ports


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """Not pytest's tmp_path: as root, Postgres runs as another user, who may not pass through pytest's own folder."""
    directory = Path(tempfile.mkdtemp(prefix="harkara-tests-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def _started(server: Server) -> str:
    server.prepare()
    server.spawn()
    server.wait_ready()
    return server.address


@pytest.fixture(scope="session")
def kafka_bootstrap(server_directory: Path) -> Iterator[str]:
    """HARKARA_KAFKA_BOOTSTRAP's broker, else Docker's, else an embedded one: the session's only one."""
    broker = pick_kafka(server_directory / "kafka", *free_ports(2))
    yield _started(broker)
    broker.stop()


@pytest.fixture
def topic_prefix() -> str:
    """For HARKARA_KAFKA_TOPIC_PREFIX: this test's topics, groups and transactions meet nobody else's."""
    return f"t{uuid.uuid4().hex[:8]}."


@pytest.fixture(scope="session")
def postgres_dsn(server_directory: Path) -> Iterator[str]:
    """HARKARA_POSTGRES_DSN's server, else Docker's, else an embedded one; its superuser's own database."""
    server = pick_postgres(server_directory / "postgres", *free_ports(1))
    yield _started(server)
    server.stop()


@pytest.fixture
def postgres_database(postgres_dsn: str) -> Iterator[str]:
    """The DSN of a database that is empty and this test's alone."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield make_conninfo(postgres_dsn, dbname=name)
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
