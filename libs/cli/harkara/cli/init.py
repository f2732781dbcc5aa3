"""`harkara init`: a folder to begin with, from the policy file to a dry run (DX-2)."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from harkara.devstack.dev_environment import write_private
from harkara.policy.governance import load
from harkara.policy.governance_file import GovernanceError
from harkara.runtime.api_keys import new_key

KEY_ID = "ops"
INVENTED = "100000000000001=+919999900001"
PRIVATE = "api-keys.yaml"  # its hashes are no secrets, but who may write it may do anything
WITH_CONSENT = "+919999921001"  # of starter/audience.csv the one whose opt-in the commands record

Folder = Annotated[Path, typer.Argument(help="Where the files go; it is made where it is missing.")]
Numbers = Annotated[
    list[str], typer.Option("--number", help="A sender: <phone_number_id>=<+country code and number>; may be repeated.")
]
Pool = Annotated[str, typer.Option(help="The name of a pool that the numbers share; left out: each is its own sender.")]
Zone = Annotated[str, typer.Option(help="The clock of recipients whose number does not tell their zone.")]
Waba = Annotated[str, typer.Option(help="The WhatsApp Business Account of the numbers.")]
Portfolio = Annotated[str, typer.Option(help="The business portfolio of the account.")]


@dataclass(frozen=True, slots=True)
class Senders:
    """What the flags say. `numbers`: phone_number_id -> display number."""

    numbers: Mapping[str, str]
    pool: str
    zone: str
    waba: str
    portfolio: str

    @property
    def first(self) -> str:
        """Who the sample run is sent by."""
        return self.pool or next(iter(self.numbers))


def init(
    folder: Folder = Path(),
    number: Numbers = [INVENTED],  # noqa: B006  typer's way to give a list's default; it is not changed
    pool: Pool = "",
    zone: Zone = "Asia/Kolkata",
    waba: Waba = "200000000000001",
    portfolio: Portfolio = "300000000000001",
) -> None:
    """Write a policy file, an API key and a sample run into a folder, and say what comes next. Nothing is overwritten.

    Without --number the files hold an invented number that only the simulator knows.
    """
    senders = Senders(_numbers(number), pool, zone, waba, portfolio)
    key, digest = new_key(KEY_ID)
    files = _files(senders, digest)
    if there := sorted(name for name in files if (folder / name).exists()):
        _give_up([f"{folder / name} is there already; nothing was written" for name in there])
    if problems := _problems(files["governance.yaml"]):
        _give_up(problems)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        if name == PRIVATE:
            write_private(folder / name, text)
        else:
            (folder / name).write_text(text, encoding="utf-8")
        typer.echo(f"wrote {folder / name}")
    typer.echo(_next(folder, key))


def _numbers(given: Sequence[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    if wrong := [each for each, (_, sign, phone) in zip(given, pairs, strict=True) if not sign or not phone]:
        raise typer.BadParameter(f"{wrong[0]}: write <phone_number_id>=<display number>", param_hint="--number")
    found = {number.strip(): re.sub(r"[\s().-]", "", phone) for number, _, phone in pairs}
    if len(found) < len(given):
        raise typer.BadParameter("a phone_number_id is given twice", param_hint="--number")
    return found


def _files(senders: Senders, digest: str) -> dict[str, str]:
    """By name, what is written."""
    ids = {"waba": senders.waba, "portfolio": senders.portfolio}
    numbers = [
        _filled("number.yaml.txt", ids | {"id": number, "phone": phone}) for number, phone in senders.numbers.items()
    ]
    playing = [
        f'      - {{phone_number_id: "{number}", display_phone_number: "{phone}", token: EAATEST-starter-{number}}}'
        for number, phone in senders.numbers.items()
    ]
    run = {
        "name": "rehearsal",
        "senders": [senders.first],
        "category": "utility",
        "template": {"name": "daily_update", "language": "en"},
    }
    governance = {"numbers": "\n".join(numbers).rstrip(), "pools": _pools(senders), "zone": json.dumps(senders.zone)}
    tokens = "\n".join(f"HARKARA_TOKEN_{number}=" for number in senders.numbers)
    return {
        "governance.yaml": _filled("governance.yaml.txt", governance),
        PRIVATE: f"keys:\n  - {{id: {KEY_ID}, name: made by harkara init, sha256: {digest}}}\n",
        ".env.example": _filled("env.txt", {"tokens": tokens}),
        "world.yaml": _filled("world.yaml.txt", ids | {"numbers": "\n".join(playing)}),
        "run.json": json.dumps(run, indent=2) + "\n",
        "audience.csv": _starter("audience.csv"),
    }


def _pools(senders: Senders) -> str:
    if not senders.pool:
        return ""
    members = ", ".join(f'"{number}"' for number in senders.numbers)
    why = "# Interchangeable numbers: what is sent by the pool's name goes out by any of them."
    return f"\n{why}\npools:\n  - name: {json.dumps(senders.pool)}\n    numbers: [{members}]\n"


def _starter(name: str) -> str:
    return (resources.files("harkara.cli") / "starter" / name).read_text("utf-8")


def _filled(name: str, values: Mapping[str, str]) -> str:
    return Template(_starter(name)).substitute(values)


def _problems(text: str) -> list[str]:
    """What `harkara policy check` would say of it: the flags are judged by the policy's own rules."""
    with tempfile.TemporaryDirectory(prefix="harkara-init-") as folder:
        path = Path(folder) / "governance.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            load(path)
        except GovernanceError as error:
            return error.problems
    return []


def _give_up(why: Sequence[str]) -> None:
    for each in why:
        typer.secho(each, fg=typer.colors.RED, err=True)
    sys.exit(1)


def _harkara() -> str:
    """The command as this shell finds it: by its name, or where it is installed."""
    return "harkara" if shutil.which("harkara") else shlex.quote(str(Path(sys.executable).with_name("harkara")))


def _steps(folder: Path) -> list[tuple[str, list[str]]]:
    """What to do next, and the commands that do it, each as it is to be typed."""
    harkara = _harkara()
    into = [] if folder.resolve() == Path.cwd().resolve() else [f"cd {shlex.quote(str(folder.resolve()))}"]
    consent = f"consent record {WITH_CONSENT} --purpose transactional --proof form-1 --origin web-form --language en"
    return [
        ("Is the policy right?", [*into, f"{harkara} policy check governance.yaml"]),
        (
            "Everything on this machine, the simulator in the place of Meta. It stays: go on in another terminal.",
            [f"{harkara} up --examples ."],
        ),
        ("There: where it answers, and its own API key.", [*into, "set -a; . .harkara/up/stack.env; set +a"]),
        (
            "The guard lets through who is on record: of audience.csv one, and another one it stops.",
            [f"{harkara} {consent}", f"{harkara} run preview run.json --audience audience.csv"],
        ),
        (
            "A dry run goes the whole way and calls nobody; in quiet hours it waits for the morning.",
            [
                f"{harkara} run send run.json --audience audience.csv --dry-run",
                f"{harkara} run status --recipients",
            ],
        ),
    ]


def _next(folder: Path, key: str) -> str:
    lines = [
        "",
        f"The API key of {PRIVATE}, shown this once and stored nowhere: your deployment knows its hash.",
        "`harkara up` makes a key of its own.",
        f"  {key}",
        "",
    ]
    steps = _steps(folder)
    for number, (why, commands) in enumerate(steps, 1):
        lines += [f"{number}. {why}", *(f"     {each}" for each in commands)]
    lines += [
        f"{len(steps) + 1}. Telemetry: `harkara up` has printed where each service's /metrics and the console are.",
        "To send to people: copy .env.example to .env and fill it in; k8s/ and docker-compose.yml say the rest.",
    ]
    return "\n".join(lines)
