"""The `harkara` command."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape

from harkara.cli import reference
from harkara.cli.audit import audit
from harkara.cli.consent import consent
from harkara.cli.demo import Options, run_demo
from harkara.cli.explain import explain
from harkara.cli.init import init
from harkara.cli.person import person
from harkara.cli.policy import policy
from harkara.cli.runs import runs
from harkara.cli.simulate import simulate
from harkara.contracts.topics import TOPICS
from harkara.devstack.dev_environment import SERVICES
from harkara.devstack.errors import DevstackError
from harkara.devstack.stack import Stack, StackConfig, Step
from harkara.devstack.supervisor import ProcessEvent, ProcessState
from harkara.policy.governance_file import GovernanceError
from harkara.runtime.clock import SystemClock
from harkara.runtime.settings import ServiceSettings
from harkara.runtime.topic_admin import TopicsDoNotFit, ensure_topics

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Harkara delivers WhatsApp Business messages.")
topics = typer.Typer(no_args_is_help=True, help="The topics of the table.")
app.add_typer(topics, name="topics")
app.add_typer(policy, name="policy")
app.add_typer(audit, name="audit")
app.add_typer(runs, name="run")
app.add_typer(consent, name="consent")
app.add_typer(person, name="person")
app.command()(init)
app.command()(explain)
app.command()(simulate)
console = Console()

EXAMPLES = Path("examples")
RUNS = Path(".harkara/runs")
KEPT_RUNS = 4  # beside the new one; each holds up to 100 MB of Kafka and Postgres data
UP = Path(".harkara/up")  # `up` keeps its data over restarts
KILLABLE = (
    "ingestion", "compliance-guard", "window-router", "dispatcher", "message-state", "quality-monitor", "sla-tracker",
    "template-manager", "outcome-notifier", "console",
)  # fmt: skip


@app.command()
def demo(
    recipients: Annotated[int, typer.Option(min=1, help="How many people the run is for.")] = 1000,
    kill: Annotated[
        str | None, typer.Option(help="Services to kill with SIGKILL in the run: one, or several with commas.")
    ] = None,
    examples: Annotated[Path, typer.Option(help="The folder with the example files.")] = EXAMPLES,
) -> None:
    """Run the whole system here, send a run to its end, and judge it by the simulator's ledger."""
    kills = tuple(name.strip() for name in kill.split(",")) if kill else ()
    if unknown := set(kills) - set(KILLABLE):
        raise typer.BadParameter(f"no service: {', '.join(sorted(unknown))}; there are {', '.join(KILLABLE)}")
    options = Options(recipients=recipients, audience=examples / "audience.csv", kill=kills)

    async def judged(stack: Stack) -> int:
        outcome = await run_demo(stack, options, console)
        if not outcome.holds:
            console.print(f"[red]the run does not hold; logs are in {stack.config.run_dir / 'logs'}")
        return 0 if outcome.holds else 1

    sys.exit(_with_stack(examples, _new_run_dir(), judged))


@app.command()
def up(
    examples: Annotated[Path, typer.Option(help="The folder with governance.yaml and world.yaml.")] = EXAMPLES,
) -> None:
    """Run the whole system here and stay until Ctrl-C, with its URLs printed."""

    async def stay(stack: Stack) -> int:
        _print_urls(stack)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await stop.wait()
        return 0

    sys.exit(_with_stack(examples, UP, stay))


@app.command()
def docs(folder: Path = Path("docs/reference")) -> None:
    """Write the generated reference again."""
    for path in reference.write_all(folder):
        console.print(f"wrote {path}")


@topics.command("list")
def list_topics() -> None:
    """Every topic, its writers and readers."""
    for topic in TOPICS:
        console.print(f"{topic.name:26} {', '.join(topic.writers)} -> {', '.join(topic.readers)}")


@topics.command("create")
def create_topics() -> None:
    """Create what is missing on the cluster that HARKARA_KAFKA_BOOTSTRAP names."""
    try:
        created = asyncio.run(ensure_topics(ServiceSettings(service="cli")))
    except TopicsDoNotFit as error:
        console.print(f"[red]{escape(str(error))}")
        sys.exit(1)
    except (KafkaError, OSError) as error:
        why = f"Kafka does not answer ({type(error).__name__}): set HARKARA_KAFKA_BOOTSTRAP to where it is"
        console.print(f"[red]{why}", soft_wrap=True)
        sys.exit(2)
    console.print(f"{created} topics created, {len(TOPICS) - created} were there")


def _with_stack(examples: Path, run_dir: Path, work: Callable[[Stack], Awaitable[int]]) -> int:
    """Start everything, work, stop everything; 1 with one sentence where it cannot start."""
    config = StackConfig(run_dir, examples / "governance.yaml", examples / "world.yaml")

    async def run() -> int:
        async with Stack(config, on_step=_tell_step, on_event=_tell_event) as stack:
            return await work(stack)

    try:
        return asyncio.run(run())
    except* (DevstackError, GovernanceError, TopicsDoNotFit) as errors:
        for sentence in _sentences(errors):
            console.print(f"[red]{escape(sentence)}")
    return 1


def _sentences(errors: BaseExceptionGroup[BaseException]) -> list[str]:
    """The messages of a group's errors, flat: several things may have failed to start at once."""
    found: list[str] = []
    for each in errors.exceptions:
        found += _sentences(each) if isinstance(each, BaseExceptionGroup) else [str(each)]
    return found


def _tell_step(step: Step) -> None:
    console.print(f"[dim]{step.seconds:5.1f} s  {step.name} {step.detail}")


def _tell_event(event: ProcessEvent) -> None:
    if event.state in (ProcessState.RESTARTING, ProcessState.GIVEN_UP):
        console.print(f"[yellow]{event.instance}: {event.state} {escape(event.detail)}")


def _new_run_dir() -> Path:
    """A folder for this demonstration; of the older ones the newest few are kept, to be looked into."""
    RUNS.mkdir(parents=True, exist_ok=True)
    for old in sorted(RUNS.iterdir())[:-KEPT_RUNS]:
        shutil.rmtree(old)
    return RUNS / SystemClock().now().strftime("%Y%m%d-%H%M%S")


def _print_urls(stack: Stack) -> None:
    url = stack.endpoints.url
    console.print(f"\n[bold]Harkara is up.[/bold]  logs: {stack.config.run_dir / 'logs'}")
    console.print(f"  API       {url('ingestion')}/docs")
    console.print(f"  console   {url('console')}/")
    console.print(f"  simulator {url('graph-simulator')}/_simulator/stats")
    console.print(f"  Kafka     {stack.endpoints.bootstrap}")
    for each in SERVICES:
        console.print(f"  metrics   {url(each.port)}/metrics  ({each.name})")
    console.print(f"  API key   {stack.api_key}   (send it as `Authorization: Bearer ...`)")
    console.print("Ctrl-C stops everything.")


if __name__ == "__main__":
    app()
