"""Batches planned by tokens: what all epochs share, what the seed gives, and the padding of real pairs."""

import ast
import inspect
import json
import re
import textwrap

import numpy as np
import pytest

from seqgraft.training.plan import BatchPlan


def shapes(plan, epoch):
    found = []
    for index in range(len(plan)):
        batch = plan.batch(epoch, index)
        found.append((len(batch), int(plan.sources[batch].max()), int(plan.targets[batch].max())))
    return sorted(found)


def lengths(count=2000):
    random = np.random.default_rng(3)
    return random.integers(5, 60, count), random.integers(3, 20, count)


@pytest.mark.parametrize("bounds", [{"tokens": 700}, {"rows": 16}, {"tokens": 700, "rows": 12}])
def test_epochs_have_the_same_shapes_and_another_order(bounds):
    plan = BatchPlan(*lengths(), seed=1, **bounds)
    epochs = [[plan.batch(epoch, index).tolist() for index in range(len(plan))] for epoch in (0, 1, 0)]
    assert epochs[0] == epochs[2]
    assert epochs[0] != epochs[1]
    assert {tuple(sorted(batch)) for batch in epochs[0]} != {tuple(sorted(batch)) for batch in epochs[1]}
    for batches in epochs:
        assert sorted(index for batch in batches for index in batch) == list(range(2000))
    assert shapes(plan, 0) == shapes(plan, 1) == shapes(plan, 7)


def test_rows_alone_fill_every_batch_but_one():
    plan = BatchPlan(*lengths(1000), rows=16)
    sizes = sorted(len(plan.batch(0, index)) for index in range(len(plan)))
    assert sizes == [1000 % 16, *[16] * (1000 // 16)]


def test_batches_are_nearly_full():
    sources, targets = lengths(5000)
    plan = BatchPlan(sources, targets, tokens=2048)
    assert len(plan) < 1.25 * (sources + targets).sum() / 2048
    both = BatchPlan(sources, targets, tokens=2048, rows=32)
    assert len(both) < 1.25 * 5000 / 32


def docstrings():
    """(body, first line) of the standard library's functions, which every machine has."""
    import argparse
    import asyncio
    import collections
    import concurrent.futures.process
    import email.message
    import functools
    import http.client
    import inspect as itself
    import logging
    import os
    import pathlib
    import random
    import statistics
    import subprocess
    import tarfile
    import threading
    import turtle
    import typing
    import unittest.mock
    import urllib.request
    import zipfile

    modules = [argparse, asyncio.events, asyncio.streams, collections, concurrent.futures.process, email.message]
    modules += [
        functools,
        http.client,
        itself,
        logging,
        os,
        pathlib,
        random,
        statistics,
        subprocess,
        tarfile,
        threading,
    ]
    modules += [turtle, typing, unittest.mock, urllib.request, zipfile, json, re, textwrap, ast]
    for module in modules:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                text = ast.get_docstring(node) or ""
                first, _, rest = text.partition("\n\n")
                if rest.strip():
                    yield rest, first


def test_padding_of_real_pairs_is_below_five_in_a_hundred():
    pieces = [[len(re.findall(r"\w{1,5}|[^\w\s]", text)) + 2 for text in pair] for pair in docstrings()]
    sources, targets = np.array(pieces).clip(max=512).T
    assert len(sources) > 500
    tokens = 1024  # so that there are about as many batches as 13,000 pairs have at 4096 and above
    assert BatchPlan(sources, targets, tokens=tokens).waste() < 0.05
    shuffled = np.random.default_rng(0).permutation(len(sources))
    batches = np.array_split(shuffled, len(BatchPlan(sources, targets, tokens=tokens)))
    padded = sum(len(b) * (sources[b].max() + targets[b].max()) for b in batches)
    assert 1 - (sources.sum() + targets.sum()) / padded > 0.5
