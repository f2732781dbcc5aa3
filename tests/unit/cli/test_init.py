"""`harkara init`: what it writes is right by the services' own rules, and nothing of anybody's is lost."""

from __future__ import annotations

import csv
import re
import shlex
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harkara.cli.main import app
from harkara.devstack.stack import Stack, StackConfig
from harkara.graph_simulator.world import load_world
from harkara.policy.governance import load_with_notes
from harkara.runtime.api_keys import EVERY_ROLE, ApiKeys

WRITTEN = {"governance.yaml", "api-keys.yaml", ".env.example", "world.yaml", "run.json", "audience.csv"}
TWO = ("--number", "100000000000002=+919999900002", "--number", "100000000000003=+91 99999-00003")


def init(folder: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["init", str(folder), *more])


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


@pytest.mark.req("DX-2", "OPS-8")
def test_the_policy_is_right_and_strict_and_says_what_the_flags_said(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    result = init(folder, *TWO, "--pool", "advisors", "--zone", "Europe/Lisbon", "--waba", "200000000000009")
    assert result.exit_code == 0, result.output
    assert names(folder) == WRITTEN
    governance, notes = load_with_notes(folder / "governance.yaml")
    assert notes == []
    assert [each.display_phone_number for each in governance.numbers] == ["+919999900002", "+919999900003"]
    assert {each.waba_id for each in governance.numbers} == {"200000000000009"}
    assert [(each.name, len(each.numbers)) for each in governance.pools] == [("advisors", 2)]
    assert governance.routing.default_time_zone == "Europe/Lisbon"
    assert governance.compliance.consent_mode == "explicit"
    assert governance.routing.quiet_hours["utility"] == governance.routing.quiet_hours["marketing"] == "23:00-07:00"
    assert CliRunner().invoke(app, ["policy", "check", str(folder / "governance.yaml")]).exit_code == 0


@pytest.mark.req("DX-2", "SEC-4")
def test_the_key_is_shown_once_and_kept_as_a_hash_and_no_file_holds_a_secret(tmp_path: Path) -> None:
    result = init(tmp_path)
    (key,) = re.findall(r"^  (ops\.\S+)$", result.output, re.MULTILINE)
    keys = tmp_path / "api-keys.yaml"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    found = ApiKeys.from_file(keys).authenticate(f"Bearer {key}")
    assert (found.id, found.sender, found.roles) == ("ops", None, EVERY_ROLE)
    secret = key.partition(".")[2]
    assert not [each.name for each in tmp_path.iterdir() if secret in each.read_text()]
    told = dict(line.split("=", 1) for line in (tmp_path / ".env.example").read_text().splitlines() if line[:1] != "#")
    to_fill_in = {"HARKARA_POSTGRES_DSN", "HARKARA_PEPPER", "HARKARA_APP_SECRETS", "HARKARA_VERIFY_TOKEN"}
    to_fill_in |= {"HARKARA_TOKEN_100000000000001"}
    assert {name for name, value in told.items() if not value} == to_fill_in
    assert init(tmp_path / "another").output != result.output, "each key is fresh"


@pytest.mark.parametrize("there", sorted(WRITTEN))
def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    result = init(tmp_path)
    assert result.exit_code == 1
    assert f"{there} is there already; nothing was written" in result.output
    assert names(tmp_path) == {there} and (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--zone", "Mars/Olympus"), "routing.default_time_zone: 'Mars/Olympus' is not a time zone"),
        (("--number", "12=+919999900001"), "numbers[0].phone_number_id"),
        (("--number", '1", profile: "x=+919999900001'), "governance.yaml:"),
        (("--number", "100000000000001"), "<phone_number_id>=<display number>"),
        (("--number", "100000000000001=+919999900001", "--number", "100000000000001=+919999900002"), "given twice"),
    ],
)
def test_flags_that_would_make_a_wrong_policy_write_nothing(tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    result = init(tmp_path, *flags)
    assert result.exit_code != 0
    assert said in re.sub(r"\s*[│|]\s*\n?\s*[│|]?\s*", " ", result.output)
    assert names(tmp_path) == set()


@pytest.mark.req("DX-2")
def test_what_it_says_comes_next_can_be_typed_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a folder"
    output = init(folder, *TWO).output
    commands = re.findall(r"^     (.+)$", output, re.MULTILINE)
    ours = [shlex.split(each) for each in commands if "harkara " in each and not each.startswith(("cd ", "set "))]
    words = [" ".join(each[1:3]) for each in ours]
    assert words == ["policy check", "up --examples", "consent record", "run preview", "run send", "run status"]
    assert f"cd {shlex.quote(str(folder))}" in commands
    monkeypatch.chdir(folder)
    for name in ("HARKARA_KAFKA_BOOTSTRAP", "HARKARA_POSTGRES_DSN"):
        monkeypatch.setenv(name, "elsewhere:1")
    stack = Stack(StackConfig(Path(".harkara/up"), Path("governance.yaml"), Path("world.yaml")))
    assert stack.settings("cli").governance_file == Path("governance.yaml")
    world = load_world(Path("world.yaml"))
    assert [n.phone_number_id for w in world.wabas for n in w.numbers] == ["100000000000002", "100000000000003"]
    with Path("audience.csv").open(newline="") as file:
        people = [row["to"] for row in csv.DictReader(file)]
    (consent,) = [each for each in ours if each[1] == "consent"]
    assert consent[3] in people and len(people) == 2
