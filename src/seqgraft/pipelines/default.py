"""The model that comes with the package: what a task takes when it is given none."""

from pathlib import Path

from seqgraft.errors import ConfigurationError

FOLDER = Path(__file__).parent.parent / "data" / "summarizer"
"""A small summarizer of Python code and of technical English, in half precision; its README.md is its card."""

TASK = "summarization"
"""The task that has a model of its own."""


def default_model(task: str) -> Path:
    """The folder of a task's own model; ConfigurationError for a task that has none."""
    if task != TASK:
        raise ConfigurationError(
            f"`model` must be given, since only {TASK!r} has a model of its own: pass a folder or the name of a hub "
            f"repository, as in pipeline({task!r}, model='google-t5/t5-small')."
        )
    return FOLDER


def told(task: str) -> str:
    """What a user who named no model is told."""
    return (
        f"No model was given for {task!r}: the summarizer that comes with Seqgraft is used. It was trained on Python "
        "packages to write a docstring's first line from code, or from the rest of the docstring, and knows no other "
        f"texts (data and figures: {FOLDER / 'README.md'}). For another, say model=FOLDER or the name of a hub "
        "repository (--model of the command line)."
    )
