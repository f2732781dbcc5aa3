"""`harkara run` and `harkara consent` against a far side that remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from harkara.cli.main import app

RESOLVED = {
    "recipients": 3, "verdicts": {"refused:opted_out": 1, "template": 2}, "verdictHash": "a" * 32, "ready": True,
    "warnings": [{"code": "some_refused", "blocking": False, "text": "1 of 3 would be refused."}],
    "rows": [{"row": 2, "code": "opted_out", "reason": "The person opted out.", "due": None}],
}  # fmt: skip
ACCEPTED = {"runId": "r-1", "accepted": 3, "leftOut": 0, "repeated": False, "verdicts": {"template": 3}}
STANDS = {
    "name": "morning", "state": "paused", "dryRun": False, "ended": 1, "expected": 3, "delivered": 1, "onTime": 1,
    "byStatus": {"delivered": 1, "held": 2}, "byReason": {"run_paused": 2},
}  # fmt: skip
RECIPIENT = {
    "messageId": "m-1", "status": "rejected", "wamid": None, "template": None, "reason": {"code": "opted_out"}
}  # fmt: skip
SAID = {
    "marketing": None, "transactional": {"standing": "opted_in", "at": "2026-11-21", "source": "api"},
    "history": [{"at": "2026-11-21", "standing": "opted_in", "purpose": None, "source": "api", "proof": "form 7"}],
}  # fmt: skip


@dataclass
class Far:
    """What it was asked, and what it answers by path."""

    url: str = ""
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--url", self.url, "--api-key", "ops.secret"])


@pytest.fixture
def far() -> Iterator[Far]:
    made = Far()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            made.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, answer = made.answers.get(self.path, (404, {"title": "No such thing"}))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run_file(tmp_path: Path) -> str:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"name": "morning", "message": "hi"}), "utf-8")
    return str(path)


def test_a_preview_says_what_would_become_of_it(far: Far, run_file: str) -> None:
    far.answers["/api/v1/runs/precheck"] = 200, RESOLVED
    done = far.run("run", "preview", run_file)
    assert done.exit_code == 0
    assert "refused:opted_out" in done.stdout
    assert "row 2: opted_out" in done.stdout
    assert "--expect " + "a" * 32 in done.stdout
    assert far.asked[0][2]["x-api-key"] == "ops.secret"
    far.answers["/api/v1/runs/precheck"] = 200, RESOLVED | {"ready": False}
    assert far.run("run", "preview", run_file).exit_code == 1


def test_the_command_that_a_preview_names_sends_what_was_previewed(far: Far, run_file: str, tmp_path: Path) -> None:
    audience = tmp_path / "audience.csv"
    audience.write_text("to\n+919999900011\n", "utf-8")
    far.answers["/api/v1/runs/precheck"] = 200, RESOLVED
    done = far.run("run", "preview", run_file, "--audience", str(audience))
    assert f"harkara run send {run_file} --audience {audience} --expect {'a' * 32}" in done.stdout


def test_sending_the_same_files_again_names_the_same_run(far: Far, run_file: str, tmp_path: Path) -> None:
    audience = tmp_path / "audience.csv"
    audience.write_text("to\n+919999900011\n", "utf-8")
    far.answers["/api/v1/runs"] = 202, ACCEPTED
    for more in ((), (), ("--dry-run",), ("--key", "mine"), ("--expect", "a" * 32)):
        done = far.run("run", "send", run_file, "--audience", str(audience), *more)
        assert (done.exit_code, "r-1" in done.stdout) == (0, True), done.stdout
    keys = [headers["idempotency-key"] for _, _, headers, _ in far.asked]
    assert keys[0] == keys[1] == keys[4] != keys[2]
    assert keys[3] == "mine"
    assert b"+919999900011" in far.asked[0][3]
    assert b'"dryRun": true' in far.asked[2][3]
    assert b'"verdictHash"' in far.asked[4][3]


def test_a_refusal_is_told_with_what_has_changed(far: Far, run_file: str) -> None:
    changes = [{"row": 3, "was": "template", "is": "refused:opted_out"}]
    problem = {"title": "Changed", "code": "AUDIENCE_CHANGED", "difference": {"changes": changes}}
    far.answers["/api/v1/runs"] = 409, problem
    done = far.run("run", "send", run_file)
    assert done.exit_code == 1
    assert "409 AUDIENCE_CHANGED Changed" in done.stdout
    assert "row 3 was template, is refused:opted_out" in done.stdout


@pytest.mark.req("B15")
@pytest.mark.parametrize("word", ["pause", "resume", "cancel"])
def test_a_word_on_a_run(far: Far, word: str) -> None:
    far.answers[f"/api/v1/runs/r-1/{word}"] = 202, {"commandIds": ["1", "2"]}
    done = far.run("run", word, "r-1", "--note", "wrong price")
    assert (done.exit_code, done.stdout.strip()) == (0, f"told 2 lanes to {word} r-1")
    assert json.loads(far.asked[0][3]) == {"note": "wrong price"}


def test_how_a_run_stands(far: Far) -> None:
    far.answers["/api/v1/runs/r-1"] = 200, STANDS
    far.answers["/api/v1/runs/r-1/recipients"] = 200, {"recipients": [RECIPIENT]}
    done = far.run("run", "status", "r-1", "--recipients")
    assert done.exit_code == 0
    for part in ("morning is paused", "1 of 3 have ended", "held 2", "run_paused 2", "opted_out"):
        assert part in done.stdout, part
    assert far.run("run", "status", "r-2").exit_code == 1


def test_without_an_id_the_newest_run_is_meant(far: Far) -> None:
    far.answers["/api/v1/runs?limit=1"] = (200, {"runs": []})
    nothing = far.run("run", "status")
    assert (nothing.exit_code, nothing.output) == (1, "no run has been accepted yet\n")
    far.answers["/api/v1/runs?limit=1"] = (200, {"runs": [{"runId": "r-9"}]})
    far.answers["/api/v1/runs/r-9"] = (200, STANDS)
    result = far.run("run", "status")
    assert result.exit_code == 0 and "morning is paused" in result.output


def test_consent(far: Far) -> None:
    far.answers["/api/v1/consent/+919999900011"] = 200, SAID
    far.answers["/api/v1/consent"] = 202, {"personKey": "p" * 32}
    shown = far.run("consent", "show", "+919999900011")
    assert "transactional  opted_in since 2026-11-21 by api" in shown.stdout
    assert "form 7" in shown.stdout
    told = ("--proof", "form 7", "--origin", "branch", "--language", "hi", "--purpose", "marketing")
    assert far.run("consent", "record", "+919999900011", *told).exit_code == 0
    assert far.run("consent", "revoke", "+919999900011").exit_code == 0
    recorded, revoked = (json.loads(body) for _, _, _, body in far.asked[1:])
    assert (recorded["standing"], recorded["purpose"], recorded["proof"]) == ("opted_in", "marketing", "form 7")
    assert (revoked["standing"], revoked["purpose"]) == ("opted_out", "all")


def test_nobody_answers_or_a_file_is_not_there(run_file: str, tmp_path: Path) -> None:
    nobody = ("--url", "http://127.0.0.1:9", "--api-key", "x")
    done = CliRunner().invoke(app, ["run", "pause", "r-1", *nobody])
    assert (done.exit_code, "nobody answers" in done.stdout) == (2, True)
    assert CliRunner().invoke(app, ["run", "send", str(tmp_path / "none.json"), *nobody]).exit_code == 2
    broken = tmp_path / "broken.json"
    broken.write_text("[1", "utf-8")
    assert CliRunner().invoke(app, ["run", "send", str(broken), *nobody]).exit_code == 2
