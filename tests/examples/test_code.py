"""The embedded summarizer's pairs: what of a file is taken, which side it is on, and whose licence allows it."""

import ast

import pytest

from examples.docstrings import at_once, code

BODY = (
    "The walk starts at the given node and follows every edge once, so that no neighbour is visited twice even when "
    "the graph has cycles."
)
FILE = f'''"""Walks over graphs of any kind.

{BODY}
"""

import os


class Walk(object):
    """One walk over one graph.

    {BODY} It ends.
    """

    limit = 3  # steps

    @property
    def next_node(self):
        """The node that comes next."""

        return self.nodes[
            self.place
        ]

    def abstract(self):
        """What another class has to say."""
        ...

    def short(self): "Nothing stands on one line."


async def run(walk):
    # no docstring here
    return await walk


def noise(x):
    """x = y + 1; z[0]"""
    return x
'''


def test_pairs_of_a_file(tmp_path):
    path = tmp_path / "walks.py"
    path.write_text(FILE)
    found = code.pairs_of_file(path)
    assert [(target, kind) for _, target, kind in found] == [
        ("Walks over graphs of any kind.", "text"),
        ("One walk over one graph.", "text"),
        ("One walk over one graph.", "code"),
        ("The node that comes next.", "code"),
    ]
    assert found[0][0] == BODY
    assert found[3][0] == "def next_node(self):\n    return self.nodes[\n        self.place\n    ]"
    taken = found[2][0]
    assert taken.startswith("class Walk(object):\n    limit = 3  # steps\n    @property\n")
    assert BODY not in taken
    assert "\n\n" not in taken
    (tmp_path / "broken.py").write_text("def (")
    assert code.pairs_of_file(tmp_path / "broken.py") == []


def test_code_stays_parseable_and_loses_its_docstring_alone(tmp_path):
    """Against Python's own parser: the tree of what is kept is the tree of the file without the docstring."""
    source = FILE.replace('    def short(self): "Nothing stands on one line."\n', "")
    for node in ast.walk(ast.parse(source)):
        kept = code.code_of(node, source.split("\n")) if isinstance(node, ast.FunctionDef | ast.ClassDef) else None
        if kept is None or not ast.get_docstring(node):
            continue
        node.decorator_list, node.body = [], node.body[1:]
        assert ast.unparse(ast.parse(kept)) == ast.unparse(node)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def get_file_name(x):\n    pass", "get file name"),
        ("class HTTPServerError(Exception):\n    x = 1", "HTTPServer Error"),
        ("async def __aenter__(self):", "aenter"),
        ("x = 1", ""),
    ],
)
def test_words_of_a_name(source, words):
    assert code.name_of(source) == words


def test_sides(tmp_path, monkeypatch):
    """Whole modules on one side; nothing held out that the training has, in other marks or nearly."""
    held = next(f"module{i}" for i in range(1000) if code.side_of(f"module{i}") == "held_out")
    train = next(f"module{i}" for i in range(1000) if code.side_of(f"module{i}") == "train")
    line = "    return start(node).follow(edges).until(end).with_(neighbours).of(graph, {})\n"
    (tmp_path / f"{train}.py").write_text(
        f'def one(node):\n    """Walk the graph."""\n{line.format(1)}\n'
        f'def two(node):\n    """Walk the graph."""\n    x = 1\n'
        f'def three(node):\n    """Walk another graph."""\n    y = 2\n'
    )
    (tmp_path / f"{held}.py").write_text(
        'def four(x):\n    """WALK the graph!"""\n    return x + x\n'
        f'def five(node):\n    """Nearly the same source."""\n{line.format(2)}\n'
        'def six(x):\n    """Something of its own."""\n    return x * x\n'
    )
    (tmp_path / "other.py").write_text('def seven(x):\n    """No licence for this."""\n    return x * x\n')
    sides = code.collected([tmp_path], {held, train})
    assert len(sides["train"]) == 2
    assert sides["validation"] == []
    assert [(pair.target, pair.module, pair.kind) for pair in sides["held_out"]] == [
        ("Something of its own.", held, "code")
    ]
    monkeypatch.setitem(code.CAPS, "train", 1)
    assert len(code.collected([tmp_path], {held, train})["train"]) == 1


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ("License-Expression: BSD-3-Clause", "BSD-3-Clause"),
        ("Classifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("License: MPL-2.0 AND MIT", None),
        ("License: MIT\nClassifier: License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", None),
        ("Classifier: Topic :: MIT", None),
        ("", None),
    ],
)
def test_licences(tmp_path, fields, taken):
    folder = tmp_path / "one-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Name: one\nVersion: 1.0\n{fields}\n\nLicense: MIT\n")
    (folder / "RECORD").write_text("one/a.py,x,1\nsingle.py,y,2\none-1.0.dist-info/METADATA,,\n")
    found = code.licences([tmp_path])
    assert found["tarfile"][1] == "PSF-2.0"
    expected = None if taken is None else ("one 1.0", taken)
    assert (found.get("one"), found.get("single")) == (expected, expected)


def test_what_the_demo_shows_was_held_out():
    pairs = at_once.chosen()
    assert [pair.kind for pair in pairs] == ["code"] * 3 + ["text"] * 3
    assert {code.side_of(pair.module) for pair in pairs} == {"held_out"}
