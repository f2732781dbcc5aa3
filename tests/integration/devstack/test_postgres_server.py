"""A real Postgres: boots, survives SIGKILL with its data, keeps databases apart."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from harkara.devstack.postgres_server import EmbeddedPostgres


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    directory = Path(tempfile.mkdtemp(prefix="harkara-postgres-test-"))
    postgres = EmbeddedPostgres(directory / "pg")
    yield postgres
    postgres.stop()
    shutil.rmtree(directory)


def test_committed_rows_outlive_a_killed_server(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.start()) as link:
        link.execute("CREATE TABLE kept (n int)")
        link.execute("INSERT INTO kept VALUES (1)")
    server.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.address)
    with psycopg.connect(server.start()) as link:
        assert link.execute("SELECT n FROM kept").fetchall() == [(1,)]


def test_a_directory_too_deep_for_a_socket_gets_a_short_one(server: EmbeddedPostgres) -> None:
    deep = EmbeddedPostgres(server.directory / ("d" * 100))
    with psycopg.connect(deep.start()) as link:
        assert link.execute("SELECT 1").fetchone() == (1,)
    deep.stop()
    assert not (deep.directory / "socket").exists()


def test_each_test_has_its_own_empty_database(postgres_database: str, postgres_dsn: str) -> None:
    with psycopg.connect(postgres_database) as link:
        link.execute("CREATE TABLE only_here (n int)")
    with psycopg.connect(postgres_dsn) as link:
        assert link.execute("SELECT to_regclass('only_here')").fetchone() == (None,)
