"""The command line: `seqgraft`, or `python -m seqgraft`. Commands import frameworks when they run, not before."""

from typing import Annotated

import typer

from seqgraft import __version__
from seqgraft.cli import compose as compose_command
from seqgraft.cli import convert as convert_command
from seqgraft.cli import doctor as doctor_command
from seqgraft.cli import evaluate as evaluate_command
from seqgraft.cli import flags
from seqgraft.cli import generate as generate_command
from seqgraft.cli import inspect as inspect_command
from seqgraft.cli import quantize as quantize_command
from seqgraft.cli import run as run_command
from seqgraft.cli import train as train_command
from seqgraft.cli.console import guarded

_EPILOG = """[bold]Exit codes[/bold]

0: done. 1: the work failed; the reason is on standard error. 2: wrong usage. 130: interrupted.

Results go to standard output, messages to standard error."""

app = typer.Typer(
    name="seqgraft",
    help="Any pretrained encoder in front of any pretrained decoder: compose, train, evaluate, generate, inspect.",
    epilog=_EPILOG,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"seqgraft {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Held by typer: options of the program itself."""


app.command("compose", epilog=compose_command.EPILOG)(guarded(compose_command.compose))
app.command("train", epilog=train_command.EPILOG)(
    guarded(
        train_command.train,
        options=train_command.options,
        validating=train_command.validating,
        adapting=train_command.adapting,
    )
)
app.command("run", epilog=run_command.EPILOG)(
    guarded(run_command.run, running=flags.running, settings=flags.generation)
)
app.command("generate", epilog=generate_command.EPILOG)(
    guarded(generate_command.generate, running=flags.running, settings=flags.generation)
)
app.command("evaluate", epilog=evaluate_command.EPILOG)(
    guarded(evaluate_command.evaluate, running=evaluate_command.running, settings=flags.generation)
)
app.command("inspect", epilog=inspect_command.EPILOG)(guarded(inspect_command.inspect))
app.command("quantize", epilog=quantize_command.EPILOG)(guarded(quantize_command.quantize))
app.command("convert", epilog=convert_command.EPILOG)(guarded(convert_command.convert))
app.command("doctor", epilog=doctor_command.EPILOG)(guarded(doctor_command.doctor))


def main() -> None:
    """The entry point of the installed program."""
    app(prog_name="seqgraft")
