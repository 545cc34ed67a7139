"""What every command shares: messages on stderr, exit codes, one readable line for a failure."""

import contextlib
import functools
import inspect
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

FAILED, USAGE, INTERRUPTED = 1, 2, 130

stderr = Console(stderr=True, highlight=False, soft_wrap=True)
"""Messages and progress bars. Results go to stdout."""


_ERROR = "bold red"


def note(message: str, style: str = "") -> None:
    """One message for the person at the terminal; of processes that train together the first one speaks."""
    from seqgraft.training.processes import rank

    if rank() == 0 or style == _ERROR:
        stderr.print(message, style=style, markup=False)


def fail(message: str) -> NoReturn:
    """End the command: its work failed."""
    note(f"Error: {message}", _ERROR)
    raise typer.Exit(FAILED)


def misused(message: str) -> NoReturn:
    """End the command: it was called in a way that cannot work."""
    raise typer.BadParameter(message)


def guarded(command: Callable[..., None], **shared: Callable[..., None]) -> Callable[..., None]:
    """The command with its exit codes, with `--debug`, and with flags that other commands have too.

    Each of `shared` is a function whose parameters are such flags; their values arrive as one dictionary, in the
    parameter of the same name.
    """
    own = inspect.signature(command)
    groups = {name: inspect.signature(flags).parameters for name, flags in shared.items()}
    parameters = [parameter for name, parameter in own.parameters.items() if name not in shared]
    for group in groups.values():
        parameters += group.values()
    debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.", rich_help_panel="Messages")]
    last = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=debug)
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters] + [last]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        shows = values.pop("debug")
        for name, group in groups.items():
            values[name] = {flag: values.pop(flag) for flag in group}
        with _messages(), _exits(shows):
            command(**values)
            sys.stdout.flush()

    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    run.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


@contextlib.contextmanager
def _exits(debug: bool) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        note("Interrupted.")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # who read the results wants no more of them
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(FAILED) from None
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        if debug:
            note(traceback.format_exc().rstrip())
        fail(_readable(error))


def _readable(error: Exception) -> str:
    from seqgraft.errors import SeqgraftError

    if isinstance(error, SeqgraftError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    said = str(error).strip() or "no message"
    return f"{said} ({type(error).__name__}; --debug shows where)"


class _Messages(logging.Handler):
    """The library's messages, each once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(record.getMessage(), record.levelno)

    def tell(self, message: str, level: int) -> None:
        """Show a message unless it was shown before."""
        if message in self.seen:
            return
        self.seen.add(message)
        if level < logging.WARNING:
            note(message)
        else:
            note(f"Warning: {message}", "yellow")


@contextlib.contextmanager
def _messages() -> Iterator[None]:
    """Show the library's log and Python's warnings as lines on stderr while a command runs."""
    handler, logger, talkative = _Messages(), logging.getLogger("seqgraft"), logging.getLogger("seqgraft.pipelines")
    level, handed_on = talkative.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    talkative.setLevel(logging.INFO)

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        handler.tell(str(message), logging.WARNING)

    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            warnings.showwarning = show  # type: ignore[assignment]
            yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = handed_on
        talkative.setLevel(level)
