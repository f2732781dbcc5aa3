"""`harkara policy`: is governance.yaml right, and what does it mean?"""

from __future__ import annotations

import sys
from collections.abc import Sized
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harkara.cli.whatif import whatif
from harkara.policy.governance import load_with_notes
from harkara.policy.governance_file import GovernanceError
from harkara.policy.schema import schema_text

policy = typer.Typer(no_args_is_help=True, help="The policy file, governance.yaml.")
console = Console(soft_wrap=True)


@policy.command()
def check(
    file: Annotated[Path, typer.Argument(envvar="HARKARA_GOVERNANCE_FILE", help="The file.")] = Path("governance.yaml"),
) -> None:
    """Read the file as the services do. Every mistake is named with its line; the exit code is 1 then."""
    try:
        governance, notes = load_with_notes(file)
    except GovernanceError as error:
        for problem in error.problems:
            console.print(f"[red]{escape(problem)}", highlight=False)
        console.print(f"{len(error.problems)} to mend; no service starts with this file", highlight=False)
        sys.exit(1)
    for note in notes:
        console.print(f"[yellow]{escape(f'{file.name}: {note}')}", highlight=False)
    counts = f"{_count(governance.numbers, 'number')}, {_count(governance.pools, 'pool')}"
    console.print(f"[green]{escape(file.name)} is right[/green]: {counts}, policy version {governance.version}")


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


policy.command()(whatif)


@policy.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    sys.stdout.write(schema_text())
