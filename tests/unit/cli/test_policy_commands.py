"""`harkara policy` and `harkara explain`, as they are typed."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harkara.cli.main import app
from harkara.policy.governance import load
from harkara.policy.schema import schema_text

EXAMPLE = Path(__file__).parents[3] / "examples" / "governance.yaml"
RUNNER = CliRunner()


@pytest.mark.req("DX-2")
def test_a_right_file_is_said_to_be_right_with_its_version() -> None:
    result = RUNNER.invoke(app, ["policy", "check", str(EXAMPLE)])
    assert result.exit_code == 0, result.output
    assert "governance.yaml is right: 3 numbers, 1 pool," in result.output and load(EXAMPLE).version in result.output


@pytest.mark.req("DX-2", "CMP-3")
def test_each_mistake_is_said_with_its_line_and_the_exit_code_is_one(tmp_path: Path) -> None:
    path = tmp_path / "governance.yaml"
    text = EXAMPLE.read_text(encoding="utf-8")
    path.write_text(text.replace("hard_block: true", "hard_block: false").replace("max_attempts: 3", "max_attempts: 9"))
    lines = path.read_text().splitlines()
    at = [next(n for n, line in enumerate(lines, 1) if word in line) for word in ("hard_block", "max_attempts")]
    result = RUNNER.invoke(app, ["policy", "check"], env={"HARKARA_GOVERNANCE_FILE": str(path)})
    assert result.exit_code == 1
    assert f"governance.yaml:{at[0]}: compliance.hard_block: must be true" in result.output
    assert f"governance.yaml:{at[1]}: dispatch.max_attempts" in result.output
    assert "2 to mend" in result.output


def test_what_its_writer_should_know_is_said_of_a_right_file(tmp_path: Path) -> None:
    path = tmp_path / "governance.yaml"
    number = EXAMPLE.read_text(encoding="utf-8").partition("# Two numbers")[0]
    path.write_text(number + "\ngovernance: {compliance: {hard_block: true, audit_log_path: /var/log/audit.json}}\n")
    result = RUNNER.invoke(app, ["policy", "check", str(path)])
    assert result.exit_code == 0, result.output
    assert "compliance.audit_log_path is not used" in result.output and "`explicit`, the strictest" in result.output


def test_the_schema_is_printed_for_editors() -> None:
    assert RUNNER.invoke(app, ["policy", "schema"]).stdout == schema_text()


def answer(same: bool, **more: Any) -> dict[str, Any]:
    verdict = {"outcome": "rejected", "code": "opted_out", "rule": "compliance.consent"}
    reason = {"code": "opted_out", "text": "The person opted out.", "rule": "compliance.consent"}
    decision = {"step": "clearance", "at": "2026-11-21T00:30:00Z", "policyVersion": "0123456789ab", "same": same}
    decision |= {"inputs": {"sender": "advisors"}, "verdict": verdict, "reason": reason} | more
    return {"messageId": "m-00000001", "status": "rejected", "reason": reason, "decisions": [decision]}


@contextmanager
def console(status: int, body: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that answers this once asked; its URL, and what it was asked with which key."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers['X-API-Key']}")
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.req("B11")
def test_a_message_is_explained_with_verdict_reason_and_that_it_comes_out_the_same() -> None:
    with console(200, answer(same=True)) as (url, asked):
        result = RUNNER.invoke(app, ["explain", "m-00000001"], env={"HARKARA_CONSOLE_URL": url, "HARKARA_API_KEY": "k"})
    assert result.exit_code == 0, result.output
    assert asked == ["/api/v1/messages/m-00000001/explain k"]
    for said in ("m-00000001 is rejected", "opted_out", "The person opted out.", "0123456789ab", "the same"):
        assert said in result.output


@pytest.mark.parametrize(
    ("more", "said"),
    [({"whyNot": "no policy"}, "not possible: no policy"), ({"again": {"outcome": "cleared"}}, "cleared")],
)
def test_a_decision_that_does_not_come_out_the_same_is_an_error(more: dict[str, Any], said: str) -> None:
    with console(200, answer(same=False, **more)) as (url, _):
        result = RUNNER.invoke(app, ["explain", "m-00000001", "--url", url])
    assert result.exit_code == 1 and said in result.output


def test_the_answer_can_be_had_as_json() -> None:
    with console(200, answer(same=True)) as (url, _):
        result = RUNNER.invoke(app, ["explain", "m-00000001", "--url", url, "--json"])
    assert json.loads(result.stdout) == answer(same=True)


def test_a_console_that_refuses_or_is_away_is_said() -> None:
    with console(404, {"title": "No such message", "detail": "Not known here (yet)."}) as (url, _):
        result = RUNNER.invoke(app, ["explain", "m-00000001", "--url", url])
    assert result.exit_code == 2 and "404 No such message: Not known here (yet)." in result.output
    result = RUNNER.invoke(app, ["explain", "m-00000001", "--url", url])
    assert result.exit_code == 2 and "nobody answers" in result.output


def test_an_id_is_a_part_of_the_path_whatever_is_in_it() -> None:
    with console(200, answer(same=True)) as (url, asked):
        RUNNER.invoke(app, ["explain", "wamid.HB/gL==?x", "--url", url], env={"HARKARA_API_KEY": "k"})
    assert asked == ["/api/v1/messages/wamid.HB%2FgL%3D%3D%3Fx/explain k"]


def test_an_address_without_its_scheme_is_told_how_it_is_written() -> None:
    result = RUNNER.invoke(app, ["explain", "m-00000001", "--url", "localhost:8081"])
    assert result.exit_code == 2 and "write it as http://host:port" in result.output


def test_without_kafka_no_topics_are_created_and_it_is_said_in_a_sentence() -> None:
    result = RUNNER.invoke(app, ["topics", "create"], env={"HARKARA_KAFKA_BOOTSTRAP": "127.0.0.1:9"})
    assert result.exit_code == 2 and "set HARKARA_KAFKA_BOOTSTRAP" in result.output
    assert "Traceback" not in result.output
