"""`harkara simulate`: the Graph API simulator by itself, for whoever develops against Meta."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr, ValidationError


def simulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port of 127.0.0.1, or of --host.")] = 8090,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in: the tokens are in the world file.")] = (
        "127.0.0.1"
    ),
    world: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Accounts, numbers, tokens, templates (YAML).")
    ] = None,
    webhook: Annotated[str | None, typer.Option(help="Where webhooks go; without it none are made.")] = None,
    secret: Annotated[
        str, typer.Option(envvar="HARKARA_SIM_APP_SECRET", help="The app secret that signs webhooks.")
    ] = "simulator-app-secret",  # noqa: S107 - the known secret of a fake
    ledger: Annotated[Path | None, typer.Option(help="Keeps what was accepted over restarts (JSON lines).")] = None,
    time_scale: Annotated[
        float | None, typer.Option(min=1, help="Divides Meta's hours and days: 3600 makes an hour a second.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of every chance.")] = None,
) -> None:
    """Run the Graph API simulator alone until Ctrl-C. HARKARA_SIM_* sets everything else (see its README)."""
    # imported here: the other commands need not wait for it
    from harkara.graph_simulator.app import create
    from harkara.graph_simulator.settings import Settings, scenario_from_environment

    given = {"time_scale": time_scale, "seed": seed}
    try:
        changed = {name: value for name, value in given.items() if value is not None}
        scenario = scenario_from_environment().model_copy(update=changed)
        settings = Settings(
            http_host=host,
            http_port=port,
            log_format="console",
            sim_webhook_url=webhook,
            sim_app_secret=SecretStr(secret),
            sim_world_file=world,
            sim_ledger_file=ledger,
            sim_scenario=scenario,
        )
        service = create(settings)
    except (ValidationError, ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"Graph API   http://{host}:{port}/v26.0/")
    typer.echo(f"control     http://{host}:{port}/_simulator/docs")
    typer.echo(f"webhooks    {webhook or 'none: give --webhook'}")
    asyncio.run(service.run())
