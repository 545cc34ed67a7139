"""Pairs from docstrings: what is taken, what is cleaned away, and that no module is on both sides."""

import json

import pytest

from examples.docstrings import collect
from examples.docstrings.clean import is_prose, pair_of, plain

BODY = (
    "The walk starts at the given node and follows every edge once, so that no neighbour is visited twice even when "
    "the graph has cycles."
)


def module(*docstrings):
    return "\n\n".join(f"def f{i}():\n    {text!r}\n" for i, text in enumerate(docstrings))


@pytest.fixture
def tree(tmp_path):
    """A made-up folder of packages."""
    root = tmp_path / "packages"

    def write(path, text):
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    write("one/a.py", module(f"Walk the graph from a node.\n\n{BODY}"))
    write("one/b.py", module(f"Another summary of the walk.\n\n{BODY.upper()}", "No body at all."))
    write("two/e.py", f'class C:\n    """Walk the GRAPH from a node\n\n    {BODY} More words follow here.\n    """\n')
    write("two/tests/c.py", module(f"Hidden in a folder of tests.\n\n{BODY} Never seen."))
    write("two/test_d.py", module(f"Hidden in a test file here.\n\n{BODY} Never seen either."))
    write("three/broken.py", "def broken(:\n")
    write(
        "three/raises.py",
        'raise RuntimeError("imported")\n' + module(f"Parsed but never imported here.\n\nThen it ends. {BODY}"),
    )
    return root


def test_made_up_tree(tree):
    found = collect.collect([tree])
    assert {(pair.module, pair.target) for pair in found} == {
        ("one", "Walk the graph from a node."),
        ("three", "Parsed but never imported here."),
    }
    assert collect.collect([tree]) == found


def test_cap_of_a_module(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "CAP", 2)
    words = ["alpha", "beta", "gamma", "delta"]
    text = module(*(f"The summary that says {word}.\n\n{BODY} It is about {word}." for word in words))
    (tmp_path / "big.py").write_text(text)
    assert len(collect.collect([tmp_path])) == 2


def test_cache(tree, tmp_path, monkeypatch):
    folder = tmp_path / "runs"
    first, there = collect.cached(folder, [tree])
    assert not there
    again, there = collect.cached(folder, [tree])
    assert there
    assert again == first
    assert len((folder / collect.PAIRS).read_text().splitlines()) == 2
    monkeypatch.setattr(collect, "VERSION", -1)
    assert not collect.cached(folder, [tree])[1]


def test_no_module_on_both_sides():
    pairs = [collect.Docstring(f"s{i}", f"t{i}", f"module{i % 50}") for i in range(500)]
    train, held = collect.split(pairs)
    assert len(train) + len(held) == 500
    assert 0.02 < len(held) / 500 < 0.25
    assert not {p.module for p in train} & {p.module for p in held}
    assert collect.split(pairs[::-1])[1] == held[::-1]
    few = collect.split([pair for pair in train if pair.module in {train[0].module, train[1].module}])
    assert {len({p.module for p in side}) for side in few} == {1}


def test_noise_is_left_out():
    docstring = f"""Walk the :class:`~graph.Graph` from a *node*.

{BODY}

.. versionadded:: 1.2

Some code follows here::

    walk(graph)
    and some more words of it that look like prose to the eye

Parameters
----------
node : int
    The node that the walk is started at by the caller of it.

Notes
-----
See the ``manual`` for `more words <https://example.org>`_ on this.

>>> walk(1)
2
"""
    assert pair_of(docstring) == (
        f"{BODY} Some code follows here. See the manual for more words on this.",
        "Walk the Graph from a node.",
    )


@pytest.mark.parametrize(
    "docstring",
    [
        "A summary without a body.",
        "Too short.\n\n" + BODY,
        "A summary with a body that is too short.\n\nOnly these few words.",
        " ".join(["word"] * 26) + "\n\n" + BODY,
        "Parameters\n\n" + BODY,
        "x = y + 1; z[0] = {a: b}\n\n" + BODY,
        "The walk starts at the given node\n\n" + BODY,  # it stands in the body
        "A summary with a body of code.\n\n" + ">>> walk(1) and so on and on and on and on and on and on\n" * 4,
        "A summary in Google's style.\n\nArgs:\n    node: " + BODY + "\n\nReturns:\n    " + BODY,
        "Ein schöner Überblick über alles.\n\n" + BODY,
    ],
)
def test_what_is_no_pair(docstring):
    assert pair_of(docstring) is None


def test_marks_of_markup():
    assert plain("the ``x`` of :func:`a.b.c` and [docs](https://x.y) **now**::") == "the x of c and docs now"
    assert not is_prose("f(x) = [1, 2] | {3} -> 4")


def test_row_is_json(tree, tmp_path):
    collect.cached(tmp_path, [tree])
    rows = [json.loads(line) for line in (tmp_path / collect.PAIRS).read_text().splitlines()]
    assert all(set(row) == {"source", "target", "module"} for row in rows)
