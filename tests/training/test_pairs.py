"""Pairs from files, and what is said of a file that holds none or bad ones."""

import pytest

from seqgraft.errors import DataError
from seqgraft.training.pairs import Pair, read_pairs


@pytest.fixture
def write(tmp_path):
    def written(name, text):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return written


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"source": "long text", "target": "short"}\n\n{"source": "x", "target": "é", "more": 1}\n'),
        ("a.csv", 'target,source\nshort,long text\né,"x"\n'),
        ("a.tsv", "source\ttarget\nlong text\tshort\nx\té\n"),
        ("a.jsonl", '\ufeff{"document": "long text", "summary": "short"}\r\n{"document": "x", "summary": "é"}'),
        ("a.csv", "text,summary\nlong text,short\nx,é"),
    ],
)
def test_formats_and_known_names(write, name, text):
    assert list(read_pairs(write(name, text))) == [Pair("long text", "short"), Pair("x", "é")]


def test_named_fields_win(write):
    path = write("a.jsonl", '{"source": "no", "target": "no", "article": "yes", "title": "t"}\n')
    assert list(read_pairs(path, source_field="article", target_field="title")) == [Pair("yes", "t")]
    assert list(read_pairs(path, source_field="article")) == [Pair("yes", "no")]


def test_place_counts_lines_of_quoted_cells(write):
    path = write("a.csv", 'source,target\n"two\nlines",one\nlast,two\n')
    assert [pair.place for pair in read_pairs(path)] == [f"{path}:2", f"{path}:4"]


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("a.jsonl", '{"source": "a", "target": "b"}\nnot json\n', 2, "is not JSON"),
        ("a.jsonl", "[1]\n", 1, "is a list"),
        ("a.jsonl", '{"source": "a", "target": "b"}\n\n{"source": "a"}\n', 3, "must have the field 'target'"),
        ("a.jsonl", '{"source": " ", "target": "b"}\n', 1, "'source' must be a text, but is empty"),
        ("a.jsonl", '{"source": "a", "target": 3}\n', 1, "'target' must be a text, but is 3"),
        ("a.jsonl", '{"from": "a"}\n', 1, "'document' with 'summary'"),
        ("a.csv", "source,target\na,b\na\n", 3, "must have 2 fields"),
        ("a.tsv", "source\ttarget\na\t\n", 2, "is empty"),
        ("a.csv", 'source,target\na,"b\n', 2, "row of fields"),
    ],
)
def test_errors_name_file_and_line(write, name, text, line, message):
    path = write(name, text)
    with pytest.raises(DataError, match=message) as caught:
        list(read_pairs(path))
    assert str(caught.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "\n", "holds none"),
        ("a.csv", "source,target\n", "holds none"),
        ("a.csv", "", "holds none"),
        ("a.txt", "x", r"must be named \.jsonl"),
        ("a.jsonl", b"\xff\xfe{", "UTF-8"),
    ],
)
def test_files_without_pairs(write, name, text, message):
    with pytest.raises(DataError, match=message):
        list(read_pairs(write(name, text)))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match="not there"):
        list(read_pairs(tmp_path / "none.jsonl"))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match="a folder"):
        list(read_pairs(tmp_path / "folder.jsonl"))


def test_streaming(write):
    rows = read_pairs(write("a.jsonl", '{"source": "a", "target": "b"}\nbroken\n'))
    assert next(rows) == Pair("a", "b")
