"""Pairs from files, and what is said of a file that holds none or bad ones."""

import sys

import pytest

from seqgraft.errors import ConfigurationError, DataError, MissingExtraError
from seqgraft.training.pairs import Pair, Skipped, read_pairs, split


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


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    rows = [{"document": "long text", "summary": "short"}, {"document": "x", "summary": "é"}]
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    assert list(read_pairs(path)) == [Pair("long text", "short"), Pair("x", "é")]
    parquet.write_table(arrow.Table.from_pylist([*rows, {"document": "y", "summary": None}]), path)
    with pytest.raises(DataError, match="'summary' must be a text, but is None") as caught:
        list(read_pairs(path))
    assert str(caught.value).startswith(f"{path}:3: ")
    path.write_bytes(b"no parquet at all")
    with pytest.raises(DataError, match="must be a Parquet file"):
        list(read_pairs(path))


def test_dataset_folders(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    held = datasets.Dataset.from_list([{"translation": {"en": "the cat", "de": "die Katze"}}])
    datasets.DatasetDict({"test": held}).save_to_disk(tmp_path / "saved")
    names = {"source_field": "translation.en", "target_field": "translation.de"}
    assert list(read_pairs(f"{tmp_path}/saved@test", **names)) == [Pair("the cat", "die Katze")]
    with pytest.raises(DataError, match="must have the split 'train', but has test"):
        list(read_pairs(tmp_path / "saved", **names))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "train.jsonl").write_text('{"source": "a", "target": "b"}\n')
    assert list(read_pairs(tmp_path / "files")) == [Pair("a", "b")]


def test_what_is_not_installed_is_said(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"")
    for name in ("pyarrow", "pyarrow.parquet", "datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match="need pyarrow"):
        list(read_pairs(tmp_path / "a.parquet"))
    with pytest.raises(MissingExtraError, match="'wmt/some' is no file here; as a dataset it needs datasets"):
        list(read_pairs("wmt/some"))
    with pytest.raises(DataError, match="none of them"):
        list(read_pairs("no such name"))


def test_bad_rows_are_skipped_where_that_is_asked_for(write):
    text = '{"source": "a", "target": "b"}\nbroken\n{"source": "a"}\n{"source": "", "target": "b"}\n[]\n'
    path = write("a.jsonl", text + '{"source": "c", "target": "d"}\n')
    skipped = Skipped()
    assert list(read_pairs(path, skipped=skipped)) == [Pair("a", "b"), Pair("c", "d")]
    assert skipped.count == 4
    assert f"{path}:2: must be a JSON object, but is not JSON" in str(skipped)
    assert "1 more" in str(skipped)
    with pytest.raises(DataError, match="all its rows are bad: 1 bad pair was left out"):
        list(read_pairs(write("b.jsonl", "broken\n"), skipped=Skipped()))


def test_split_keeps_sources_together_and_sides_as_files_grow():
    pairs = [Pair(f"source {n % 500}", f"target {n}") for n in range(1000)]
    train, held = split(pairs, 0.1, seed=3)
    assert len(train) + len(held) == 1000
    assert 60 < len(held) < 140  # 5 standard deviations of a binomial of 500 sources
    assert not {pair.source for pair in train} & {pair.source for pair in held}
    assert held == [pair for pair in split([*pairs, Pair("new", "x")], 0.1, seed=3)[1] if pair.source != "new"]
    assert held != split(pairs, 0.1, seed=4)[1]
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        split(pairs, 1.0)
    with pytest.raises(DataError, match="both sides"):
        split(pairs[:1], 0.5)
