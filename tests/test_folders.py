"""What a name means, and that a save is seen whole or not at all, whatever kills it."""

import errno
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from seqgraft import folders
from seqgraft.errors import FolderError
from seqgraft.folders import Origin, find, finish, inside, need, read_json, saving, write_json

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits")


def listing(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def save(folder: Path, files: dict[str, str], **options) -> None:
    with saving(folder, **options) as staged:
        for name, text in files.items():
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_text(text)


def test_a_save_takes_the_place_of_the_old_one(tmp_path):
    save(tmp_path / "a" / "b", {"x": "1", "deep/y": "1", "w-1": "1", "w-2": "1"})
    save(tmp_path / "a" / "b", {"x": "2", "w-2": "2"}, stale=("w-*", "deep"))
    assert listing(tmp_path) == {"a/b/x": "2", "a/b/deep/y": "1", "a/b/w-2": "2"}


def test_a_failing_save_changes_nothing(tmp_path):
    save(tmp_path / "there", {"x": "1"})
    for folder in ("there", "new"):
        with pytest.raises(FileNotFoundError):
            save(tmp_path / folder, {"x": "2", "no/such/folder/y": "2"})
    assert listing(tmp_path) == {"there/x": "1"}
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["x"]


def test_what_cannot_be_replaced_is_told_before_the_commit(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="must be a folder to save into, but is a file"):
        save(tmp_path / "file", {"x": "1"})
    save(tmp_path / "a", {"x": "1", "y/z": "1"})
    with pytest.raises(FolderError, match="x' must be a folder for this save, but is a file"):
        save(tmp_path / "a", {"b": "2", "x/z": "2"})
    with pytest.raises(FolderError, match="y' must be a file for this save, but is a folder"):
        save(tmp_path / "a", {"b": "2", "y": "2"})
    assert listing(tmp_path / "a") == {"x": "1", "y/z": "1"}


def test_a_link_is_replaced_not_followed(tmp_path):
    """A folder of the hub's cache is made of links to files that others share."""
    (tmp_path / "blob").write_text("shared")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").symlink_to(tmp_path / "blob")
    assert find(tmp_path / "a", "x").read_text() == "shared"
    save(tmp_path / "a", {"x": "2"})
    assert (tmp_path / "blob").read_text() == "shared"
    assert find(tmp_path / "a", "x").read_text() == "2"


SAVER = """
import sys
from seqgraft.folders import saving
number = int(sys.argv[2])
print("begin", flush=True)
while True:
    number += 1
    with saving(sys.argv[1], stale=("shard-*",)) as staged:
        for name in ("config", "weights", "tokenizer", f"shard-{number % 3}", "deep/file"):
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_text(str(number) * 1000)
    print(number, flush=True)
"""


@posix
def test_killed_at_any_moment_a_folder_is_whole(tmp_path):
    """A few dozen kills: everything `find` sees is of one save, and no save that had ended is lost."""
    last, interrupted = 0, 0
    chance = random.Random(0)
    for _ in range(30):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path), str(last)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "begin\n"
        time.sleep(chance.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        ended = [int(line) for line in process.communicate()[0].split("\n")[:-1]]
        interrupted += any(tmp_path.glob(".seqgraft-*"))
        if not ended and not last:
            continue
        numbers = {_number(find(tmp_path, name)) for name in ("config", "weights", "tokenizer", "deep/file")}
        assert len(numbers) == 1
        number = numbers.pop()
        assert number >= (ended[-1] if ended else last)
        assert [p.name for p in tmp_path.glob("shard-*")] == [f"shard-{number % 3}"]
        assert _number(find(tmp_path, f"shard-{number % 3}")) == number
        last = number
    assert interrupted > 5, "the kills must hit saves, or this test proves nothing"
    save(tmp_path, {"config": "end"})
    assert not list(tmp_path.glob(".seqgraft-*")), "the next save removes what killed ones have left"


def _number(path: Path) -> int:
    text = path.read_text()
    number = text[: len(text) // 1000]
    assert text == number * 1000
    return int(number)


@pytest.mark.parametrize("moved", range(6))
def test_a_commit_interrupted_after_any_move_is_finished(tmp_path, monkeypatch, moved):
    old = {"a": "1", "b": "1", "w-1": "1", "w-2": "1"}
    save(tmp_path, old)
    original = Path.replace
    count = iter(range(100))

    def replace(self, target):
        if next(count) == moved:
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, {"a": "2", "b": "2", "c/d": "2", "e": "2"}, stale=("w-*",))
    monkeypatch.undo()
    assert find(tmp_path, "a").read_text() == "2"
    assert listing(tmp_path) == {"a": "2", "b": "2", "c/d": "2", "e": "2"}


def test_many_readers_finish_one_save(tmp_path):
    """Whoever asks sees the new folder at once, also while another process moves the files."""
    for turn in range(20):
        committed = tmp_path / f".seqgraft-commit-{turn:020d}-x"
        committed.mkdir()
        for name in range(30):
            (committed / str(name)).write_text(str(turn))
        write_json(committed / ".seqgraft-stale.json", {"remove": [f"gone-{turn}"]})
        (tmp_path / f"gone-{turn}").write_text("")
        seen, start = [], threading.Barrier(4)

        def read(seen=seen, start=start, turn=turn):
            start.wait()
            seen.extend(find(tmp_path, str(name)).read_text() == str(turn) for name in reversed(range(30)))
            seen.append(find(tmp_path, f"gone-{turn}") is None)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 4 * 31
        assert all(seen)
    assert not list(tmp_path.glob(".seqgraft-*"))


def test_a_save_that_another_process_is_just_removing(tmp_path, monkeypatch):
    committed = tmp_path / ".seqgraft-commit-0-x"
    committed.mkdir()
    write_json(committed / ".seqgraft-stale.json", {"remove": []})
    (tmp_path / "a").write_text("moved")

    def vanish(self, pattern):
        shutil.rmtree(committed)
        raise FileNotFoundError(committed)

    monkeypatch.setattr(Path, "rglob", vanish)
    assert find(tmp_path, "a").read_text() == "moved"


def test_commits_are_finished_in_their_order(tmp_path):
    for number in (2, 1):
        committed = tmp_path / f".seqgraft-commit-{number:020d}-{'xy'[number - 1]}"
        committed.mkdir()
        (committed / "a").write_text(str(number))
        write_json(committed / ".seqgraft-stale.json", {"remove": []})
    finish(tmp_path)
    assert listing(tmp_path) == {"a": "2"}


def test_an_unfinished_save_that_may_not_be_moved_is_told(tmp_path, monkeypatch):
    committed = tmp_path / ".seqgraft-commit-0-x"
    committed.mkdir()
    (committed / "a").write_text("")
    write_json(committed / ".seqgraft-stale.json", {"remove": []})

    def refuse(self, target):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(FolderError, match="holds a save that was interrupted while its files moved"):
        find(tmp_path, "a")


@posix
def test_only_what_the_dead_have_left_is_removed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    here = platform.node()
    dead = tmp_path / f".seqgraft-saving-{here}-{process.pid}-abc"
    kept = [
        tmp_path / f".seqgraft-saving-{here}-{os.getppid()}-abc",
        tmp_path / f".seqgraft-saving-another-{process.pid}-abc",
        tmp_path / ".seqgraft-saving-odd",
    ]
    for folder in (dead, *kept):
        folder.mkdir()
        (folder / "x").write_text("")
    save(tmp_path, {"a": "1"})
    assert not dead.exists()
    assert all(folder.exists() for folder in kept)


@posix
def test_a_full_disk_leaves_the_old_folder(tmp_path):
    """A limit on file sizes stands for the disk: the write fails in the middle of a large file."""
    save(tmp_path, {"config": "old", "weights": "old"})
    program = """
import resource, signal, sys
from seqgraft.folders import saving
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with saving(sys.argv[1]) as staged:
    (staged / "config").write_text("new")
    (staged / "weights").write_bytes(bytes(1_000_000))
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "OSError: [Errno 27] File too large" in done.stderr
    assert listing(tmp_path) == {"config": "old", "weights": "old"}


@pytest.mark.parametrize("step", ["fsync", "write_json"])
def test_no_space_at_the_last_step(tmp_path, monkeypatch, step):
    save(tmp_path, {"config": "old"})

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (folders, "write_json")), full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, {"config": "new"})
    assert listing(tmp_path) == {"config": "old"}


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a/..", "..", "x\0"])
def test_a_path_outside_is_refused(tmp_path, name, monkeypatch):
    (tmp_path / "x").write_text("")
    (tmp_path / "f" / "a").mkdir(parents=True)
    monkeypatch.setattr(folders, "_download", lambda *arguments: pytest.fail("must not be asked for"))
    for ask in (
        lambda: inside(tmp_path / "f", name),
        lambda: find(tmp_path / "f", name),
        lambda: find(tmp_path / "f", "x", Origin(subfolder=name)),
        lambda: find(tmp_path / "f", name, Origin(subfolder="a")),
        lambda: find("some/repository", name),
        lambda: need(tmp_path / "f", name),
    ):
        with pytest.raises(FolderError, match="must be named by a path inside it, but is named"):
            ask()


def test_find_and_need(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x").write_text("")
    (tmp_path / "model.safetensors").write_text("")
    assert find(tmp_path, "x") is None
    assert find(tmp_path, "deep") is None
    assert find(str(tmp_path), "x", Origin(subfolder="deep")) == tmp_path / "deep" / "x"
    assert find(tmp_path, "deep/x") == tmp_path / "deep" / "x"
    assert find(tmp_path / "model.safetensors", "model.safetensors") == tmp_path / "model.safetensors"
    assert find(tmp_path / "model.safetensors", "config.json") is None
    with pytest.raises(FolderError, match=r"must hold config.json, but holds deep, model.safetensors\."):
        need(tmp_path, "config.json")
    with pytest.raises(FolderError, match=r"must hold config.json, but is a file\."):
        need(tmp_path / "model.safetensors", "config.json")


def test_names_of_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = Origin(local_files_only=True, cache_dir=str(tmp_path))
    with pytest.raises(FolderError, match="must be a folder, or a hub repository that is reachable or cached"):
        find("nobody/nothing", "config.json", offline)
    with pytest.raises(FolderError, match="is no folder here, and cannot be the name of a hub repository"):
        find("./not/there/at/all", "config.json", offline)


def test_a_cached_repository(tmp_path):
    """Offline, a file is there when the cache holds it, and absent when it holds others of the same snapshot."""
    snapshot = tmp_path / "models--some--body" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (tmp_path / "models--some--body" / "refs").mkdir()
    (tmp_path / "models--some--body" / "refs" / "main").write_text("0" * 40)
    offline = Origin(local_files_only=True, cache_dir=str(tmp_path))
    assert find("some/body", "config.json", offline) == snapshot / "config.json"
    assert find("some/body", "model.safetensors", offline) is None


def test_json(tmp_path):
    write_json(tmp_path / "a", {"b": "ü", "a": 1})
    assert (tmp_path / "a").read_text(encoding="utf-8") == '{\n  "a": 1,\n  "b": "ü"\n}\n'
    assert read_json(tmp_path / "a") == {"a": 1, "b": "ü"}
    for text, message in (("{", "must hold JSON, but does not"), ("[1]", "must hold a JSON object, but holds a list")):
        (tmp_path / "a").write_text(text)
        with pytest.raises(FolderError, match=message):
            read_json(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(FolderError, match="must hold JSON"):
        read_json(tmp_path / "a")


def test_origin_takes_its_arguments():
    arguments = {"revision": "v1", "subfolder": "deep", "dtype": "auto"}
    assert Origin.take(arguments) == Origin(revision="v1", subfolder="deep")
    assert arguments == {"dtype": "auto"}


def test_brackets_that_no_reader_follows(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 200_000)
    with pytest.raises(FolderError, match=r"config\.json must hold JSON that can be read, but its brackets"):
        read_json(tmp_path / "config.json")
