"""Tokens that are kept: used as long as nothing changed, and made again where they are stale or broken."""

import json
import os
import threading

import pytest

from seqgraft.errors import DataError
from seqgraft.training import cache
from seqgraft.training import data as tokenised
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.pairs import PairFiles, Skipped, read_pairs
from seqgraft.training.special import settle_special_ids
from seqgraft.training.trainer import train

from .conftest import PAIRS


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "pairs.jsonl", PAIRS * 5)


def write(path, pairs):
    path.write_text("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in pairs), encoding="utf-8")
    return path


@pytest.fixture
def opened(make, tmp_path, monkeypatch):
    """(pairs, settings) -> tokens and whether anything was tokenised for them."""
    calls, true = [], TokenizedPairs._made.__func__

    def counted(cls, *arguments):
        calls.append(1)
        return true(cls, *arguments)

    monkeypatch.setattr(TokenizedPairs, "_made", classmethod(counted))
    made = make()
    settle_special_ids(made.model, made.tokenizer)

    def open_(pairs, tokenizer=None, **settings):
        before = len(calls)
        found = TokenizedPairs.make(
            pairs, made.model, tokenizer or made.tokenizer, cache_folder=tmp_path / "cache", **settings
        )
        return found, len(calls) > before

    return open_


def same(one, other):
    assert one.digest() == other.digest()
    assert [one.place(index) for index in range(len(one))] == [other.place(index) for index in range(len(other))]
    assert (one.cut_sources, one.cut_targets, one.read) == (other.cut_sources, other.cut_targets, other.read)
    batch, wanted = one[[0, 7, 3]], other[[0, 7, 3]]
    assert all(batch[name].equal(wanted[name]) for name in wanted)
    assert list(one.kept) == list(other.kept)


def test_what_is_kept_is_what_was_made(opened, make, file):
    first, made = opened(PairFiles([file]), max_target_length=3)
    assert made
    again = PairFiles([file])
    second, made = opened(again, max_target_length=3)
    assert not made
    assert again.count == len(PAIRS) * 5
    assert second.cut_targets > 0
    same(second, first)
    plain = make()
    settle_special_ids(plain.model, plain.tokenizer)
    same(second, TokenizedPairs.make(read_pairs(file), plain.model, plain.tokenizer, max_target_length=3))


def test_another_file_tokenizer_or_setting_is_another_entry(opened, make, file):
    opened(PairFiles([file]))
    assert opened(PairFiles([file]), max_target_length=4)[1]
    assert opened(PairFiles([file]), max_source_length=5)[1]
    assert opened(PairFiles([file]), skipped=Skipped())[1]
    assert opened(PairFiles([file], fraction=0.5))[1]
    assert opened(PairFiles([file], fraction=0.5, seed=1))[1]
    assert opened(PairFiles([file], "target", "source"))[1]
    cased = make().tokenizer
    cased.add_tokens(["cat sat"])
    assert opened(PairFiles([file]), tokenizer=cased)[1]
    assert not opened(PairFiles([file]))[1]
    os.utime(file, ns=(0, 0))
    assert opened(PairFiles([file]))[1]
    write(file, PAIRS)
    found, made = opened(PairFiles([file]))
    assert (made, len(found)) == (True, len(PAIRS))


@pytest.mark.parametrize("what", ["sources.ids", "targets.ends", "lines", "about.json"])
@pytest.mark.parametrize("how", ["shorter", "other", "gone"])
def test_a_broken_entry_is_made_again(opened, file, tmp_path, what, how):
    wanted, _ = opened(PairFiles([file]))
    (entry,) = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    held = (entry / what).read_bytes()
    place = len(held) // 2
    changed = {"shorter": held[:place], "other": held[:place] + bytes([held[place] ^ 1]) + held[place + 1 :]}
    (entry / what).unlink()  # other names of the file's content stay as they are
    if how != "gone":
        (entry / what).write_bytes(changed[how])
    found, made = opened(PairFiles([file]))
    assert made or (what, how) == ("about.json", "other")  # where it may be a space
    same(found, wanted)
    assert not opened(PairFiles([file]))[1]
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == ["", ".lock"]


def test_bad_pairs_are_counted_from_the_cache_too(opened, file):
    with file.open("a", encoding="utf-8") as more:
        more.write('no JSON\n{"source": "the", "target": ""}\n')
    with pytest.raises(DataError, match=r"pairs.jsonl:31: must be a JSON object"):
        opened(PairFiles([file]))
    with pytest.raises(DataError, match=r"pairs.jsonl:31: must be a JSON object"):
        opened(PairFiles([file]))
    counts = []
    for wanted in (True, False):
        skipped = Skipped(1, ["another file's"])
        assert opened(PairFiles([file], skipped=skipped), skipped=skipped)[1] is wanted
        counts.append((skipped.count, skipped.first))
    assert counts[0] == counts[1]
    assert counts[0][0] == 3
    assert "pairs.jsonl:31" in counts[0][1][1]


def test_what_cannot_be_kept_is_no_error(opened, make, file, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(cache, "_write", full)
        assert opened(PairFiles([file]))[1]
    assert opened(PairFiles([file]))[1]
    (tmp_path / "a file").write_text("")
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    TokenizedPairs.make(PairFiles([file]), made.model, made.tokenizer, cache_folder=tmp_path / "a file")
    TokenizedPairs.make(PairFiles([file]), made.model, made.tokenizer, cache_folder=tmp_path / "a file" / "in it")


def test_a_file_that_grows_while_it_is_read_is_not_kept(opened, file, monkeypatch):
    true = tokenised.ahead

    def grows(source, count):
        yield from true(source, count)
        with file.open("a", encoding="utf-8") as more:
            more.write(json.dumps({"source": "the cat", "target": "cat"}) + "\n")

    with monkeypatch.context() as patched:
        patched.setattr(tokenised, "ahead", grows)
        assert len(opened(PairFiles([file]))[0]) == 30
    assert len(opened(PairFiles([file]))[0]) == 31


def test_one_of_several_makes_it(opened, file, monkeypatch):
    true, began, made = tokenised.ahead, threading.Barrier(3), []

    def slow(source, count):
        threading.Event().wait(0.3)
        yield from true(source, count)

    monkeypatch.setattr(tokenised, "ahead", slow)

    def one():
        began.wait()
        made.append(len(opened(PairFiles([file]))[0]))

    each = [threading.Thread(target=one) for _ in range(3)]
    calls = []
    write_ = cache._write
    monkeypatch.setattr(cache, "_write", lambda *arguments: (calls.append(1), write_(*arguments)))
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()
    assert made == [30] * 3
    assert len(calls) == 1


def test_entries_that_nobody_reads_are_removed(opened, file, tmp_path):
    opened(PairFiles([file]))
    (old,) = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    os.utime(old, (0, 0))
    opened(PairFiles([file]), max_target_length=3)
    assert not old.exists()
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_training_from_kept_tokens_is_the_same(make, file, tmp_path, monkeypatch):
    def run(**changes):
        made = make()
        options = {"epochs": 2, "rows_per_batch": 6, "progress": False, "check": False, **changes}
        train(made.model, made.tokenizer, PairFiles([file]), output=None, **options)
        return made.model.decoder.embed.weight.detach()

    wanted = run(cache_dir="none")
    monkeypatch.setenv("SEQGRAFT_CACHE", str(tmp_path / "mine"))
    assert run().equal(wanted)
    assert len(list((tmp_path / "mine" / "pairs").iterdir())) == 2
    assert run().equal(wanted)
    assert run(cache_dir=tmp_path / "other").equal(wanted)
    assert (tmp_path / "other").is_dir()


def test_a_split_is_read_twice_and_held_nowhere(file):
    left = PairFiles([file], fraction=0.3)
    held, rest = list(left.others()), list(left)
    assert len(held) + len(rest) == 30
    assert not {pair.source for pair in held} & {pair.source for pair in rest}
    with pytest.raises(DataError, match="leaves none to validate on"):
        list(PairFiles([file], fraction=1e-9).others())
