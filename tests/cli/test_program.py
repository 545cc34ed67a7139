"""The program as a whole: help, exit codes, what it imports, and the documented line in a shell."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

import seqgraft as library

from ..pipelines.tiny import TEXTS

COMMANDS = ("compose", "train", "run", "generate", "inspect")


def test_help_imports_no_framework(shell):
    code = (
        "import sys, runpy\n"
        "sys.argv = ['seqgraft', '--help']\n"
        "try:\n    runpy.run_module('seqgraft', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'transformers', 'lightning', 'jax', 'tensorflow', 'tokenizers', 'numpy'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print('light')\n"
    )
    done = shell(code=code)
    assert done.stdout.endswith("light\n"), done.stderr
    for command in COMMANDS:
        assert command in done.stdout
    assert "130" in done.stdout  # exit codes are told


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(seqgraft, command):
    done = seqgraft(command, "--help")
    assert done.exit_code == 0
    assert f"seqgraft {command} " in done.stdout.partition("Examples")[2]
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_version(seqgraft):
    assert seqgraft("--version").stdout == f"seqgraft {library.__version__}\n"


def test_usage_errors(seqgraft):
    assert seqgraft().exit_code == 2
    assert seqgraft("nonsense").exit_code == 2
    assert seqgraft("run", "--model", "x").exit_code == 2
    assert seqgraft("run", "--model", "x", "--task", "summarization", "--nonsense").exit_code == 2
    done = seqgraft("run", "--model", "x", "--task", "summarize")
    assert done.exit_code == 2
    assert "--task must be one of summarization," in done.stderr
    assert done.stdout == ""


def test_failures_are_one_line_without_a_traceback(seqgraft, tmp_path):
    done = seqgraft("run", "--task", "summarization", "--model", tmp_path)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"Error: '{tmp_path}' must hold ")
    assert done.stderr.count("\n") == 1
    shown = seqgraft("run", "--task", "summarization", "--model", tmp_path, "--debug")
    assert shown.exit_code == 1
    assert "Traceback" in shown.stderr
    assert shown.stderr.endswith(done.stderr)


def test_unexpected_errors_are_readable_too(seqgraft, monkeypatch, folder):
    def broken(*_):
        raise KeyError("what is not there")

    monkeypatch.setattr("seqgraft.cli.flags.settings_of", broken)
    done = seqgraft("run", "--task", "summarization", "--model", folder)
    assert done.exit_code == 1
    assert done.stderr == "Error: 'what is not there' (KeyError; --debug shows where)\n"


def test_interrupted(seqgraft, monkeypatch, folder):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("seqgraft.cli.flags.settings_of", interrupted)
    done = seqgraft("run", "--task", "summarization", "--model", folder)
    assert done.exit_code == 130
    assert done.stderr == "Interrupted.\n"


def test_the_documented_line(shell, folder):
    done = shell("run", "--task", "summarization", "--model", folder, "--device", "cpu", stdin="\n".join(TEXTS) + "\n")
    assert done.returncode == 0, done.stderr
    pipe = library.pipeline("summarization", model=folder, device=-1)
    assert done.stdout.splitlines() == [record["summary_text"].strip() for record in pipe(TEXTS)]
    assert "at most 20 new tokens" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="signals of a shell")
def test_results_come_as_soon_as_ready_and_ctrl_c_ends(folder):
    command = [sys.executable, "-m", "seqgraft", "run", "-t", "summarization", "-m", str(folder), "--json"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, env=buffered, **pipes) as process:
        watchdog = threading.Timer(45, process.kill)  # a result that is held back would be waited for without end
        watchdog.start()
        for text in TEXTS[:2]:
            process.stdin.write(text.encode() + b"\n")
            process.stdin.flush()
            assert "summary_text" in json.loads(process.stdout.readline())  # while the input is still open
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr.read().endswith(b"Interrupted.\n")
        watchdog.cancel()


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="pipes of a shell")
def test_a_reader_that_stops_early(folder):
    line = f"yes 'a model' | head -500 | {sys.executable} -m seqgraft run -t summarization -m {folder} | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert len(done.stdout.splitlines()) == 1
    for word in ("Traceback", "Exception", "roken pipe"):
        assert word not in done.stderr
