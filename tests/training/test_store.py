"""Rows beyond memory, and work ahead of its being asked for."""

import random
import threading
import time

import numpy as np
import pytest

from seqgraft.training import data as tokenised
from seqgraft.training.ahead import ahead
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.special import settle_special_ids
from seqgraft.training.store import Rows


def test_rows_in_memory_and_in_a_file(tmp_path):
    draw = random.Random(0)
    lists = [[draw.randrange(2**31) for _ in range(draw.randrange(9))] for _ in range(500)]
    near, far = Rows(), Rows(tmp_path, most=64)
    for ids in lists:
        near.append(ids)
        far.append(ids)
    assert isinstance(far[0].base if far[0].base is not None else far[0], np.ndarray)
    assert isinstance(far._flat(), np.memmap)
    assert not isinstance(near._flat(), np.memmap)
    assert len(far._recent) == 0  # nothing is held but the ends
    for rows in (near, far):
        assert [row.tolist() for row in (rows[index] for index in range(len(rows)))] == lists
        assert rows.lengths().tolist() == [len(ids) for ids in lists]
    full = [index for index, ids in enumerate(lists) if ids][:7]
    assert far.padded(full, -1).tolist() == near.padded(full, -1).tolist()
    assert b"".join(near.pieces()) == b"".join(far.pieces())
    far.append([7])  # after it was mapped
    assert far[500].tolist() == [7]
    assert far[3].tolist() == lists[3]
    assert not list(tmp_path.iterdir())  # the file has no name, and ends with the process


def test_pairs_from_a_file_are_those_from_memory(make, pairs, tmp_path, monkeypatch):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    near = TokenizedPairs.make(pairs * 50, made.model, made.tokenizer)
    monkeypatch.setattr(tokenised, "_CHUNK", 7)
    monkeypatch.setattr("seqgraft.training.store._MOST", 100)
    monkeypatch.setattr(tokenised, "Rows", lambda folder: Rows(folder, most=100))
    read = []

    def once():
        for pair in pairs * 50:
            read.append(pair)
            yield pair

    far = TokenizedPairs.make(once(), made.model, made.tokenizer, folder=tmp_path)
    assert len(read) == len(far) == 300
    assert isinstance(far.sources._flat(), np.memmap)
    for name, value in near[[0, 299, 17]].items():
        assert far[[0, 299, 17]][name].tolist() == value.tolist()


def test_the_next_ones_are_ready_before_they_are_asked_for():
    made = []

    def source():
        for number in range(10):
            made.append(number)
            yield number

    items = ahead(source(), 3)
    assert next(items) == 0
    for _ in range(200):
        if len(made) >= 4:
            break
        time.sleep(0.01)
    assert made[:4] == [0, 1, 2, 3]
    assert len(made) <= 5  # three wait, and one is being handed over
    assert list(items) == list(range(1, 10))


def test_an_error_comes_in_its_place_and_who_stops_ends_the_thread():
    def fails():
        yield 1
        raise ValueError("the second")

    items = ahead(fails(), 4)
    assert next(items) == 1
    with pytest.raises(ValueError, match="the second"):
        next(items)

    def endless():
        while True:
            yield 1

    before = threading.active_count()
    items = ahead(endless(), 2)
    next(items)
    assert threading.active_count() == before + 1
    items.close()
    assert threading.active_count() == before
