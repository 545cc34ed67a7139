"""The command line in this process, and tiny models for it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ..pipelines import tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory: Any) -> Path:
    """A pair, BERT to BERT."""
    return tiny.bert_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="session")
def two(tmp_path_factory: Any) -> Path:
    """A pair with two tokenizers."""
    return tiny.two_pair(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="session")
def bert(tmp_path_factory: Any) -> Path:
    """A plain BERT."""
    return tiny.plain_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: Any) -> Path:
    """A plain GPT-2 of another width and vocabulary."""
    return tiny.plain_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture
def seqgraft(monkeypatch: Any) -> Any:
    """arguments -> what the command line did: `exit_code`, `stdout`, `stderr`."""
    from seqgraft.cli import app

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")

    def run(*arguments: object, stdin: str | bytes = "") -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)

    return run


@pytest.fixture
def shell() -> Any:
    """arguments -> a finished process of `python -m seqgraft`."""

    def run(*arguments: object, stdin: str = "", code: str | None = None) -> Any:
        source = Path(__file__).parents[2] / "src"
        environment = {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "80", "HF_HUB_OFFLINE": "1"}
        start = ["-m", "seqgraft"] if code is None else ["-c", code]
        command = [sys.executable, *start, *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, timeout=60)

    return run
