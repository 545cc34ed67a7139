"""`seqgraft generate`."""

import csv
import json

import pytest

import seqgraft as library

from ..pipelines.tiny import TEXTS

SHORT = ("--max-new-tokens", "5", "--device", "cpu")


@pytest.fixture(scope="module")
def expected(folder):
    pipe = library.pipeline("text2text-generation", model=folder, device=-1, max_new_tokens=5)
    return [pipe(text)[0]["generated_text"] if text.strip() else "" for text in [*TEXTS[:2], "", *TEXTS[2:]]]


@pytest.fixture
def texts():
    return [*TEXTS[:2], "", *TEXTS[2:]]


def _write(tmp_path, kind, texts, field="source"):
    file = tmp_path / f"input.{kind}"
    if kind == "txt":
        file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    elif kind == "jsonl":
        file.write_text("".join(json.dumps({"id": 1, field: text}) + "\n\n" for text in texts), encoding="utf-8")
    else:
        with file.open("w", encoding="utf-8", newline="") as stream:
            rows = csv.writer(stream, delimiter="," if kind == "csv" else "\t")
            rows.writerows([("id", field), *((1, text) for text in texts)])
    return file


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv", "tsv"])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_formats(seqgraft, folder, tmp_path, texts, expected, kind, batch_size):
    file = _write(tmp_path, kind, texts)
    out = tmp_path / f"out.{kind}"
    done = seqgraft("generate", folder, "-i", file, "-o", out, *SHORT, "--batch-size", batch_size)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.endswith(f"Wrote {out}: 6 results.\n")
    if kind == "txt":
        assert out.read_text(encoding="utf-8") == "".join(line.strip() + "\n" for line in expected)
        return
    if kind == "jsonl":
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    else:
        with out.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="," if kind == "csv" else "\t"))
    assert rows == [{"source": text, "prediction": made} for text, made in zip(texts, expected, strict=True)]


def test_field(seqgraft, folder, tmp_path, texts, expected):
    file = _write(tmp_path, "jsonl", texts, field="body")
    out = tmp_path / "out.txt"
    done = seqgraft("generate", folder, "-i", file, "-o", out, *SHORT)
    assert done.exit_code == 1
    assert f"{file}:1: must have one of the fields source, document, text (or pass --field)" in done.stderr
    done = seqgraft("generate", folder, "-i", file, "-o", out, "--field", "body", *SHORT, "--json")
    assert json.loads(done.stdout) == {"output": str(out), "texts": 6}
    assert out.read_text(encoding="utf-8").splitlines() == [line.strip() for line in expected]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.jsonl", '{"source": "a"}\nnonsense\n', "x.jsonl:2: must be a JSON object"),
        ("x.jsonl", "[1]\n", "x.jsonl:1: must be a JSON object, but is a list"),
        ("x.jsonl", '{"source": 3}\n', "x.jsonl:1: the field 'source' must be a text, but is 3"),
        ("x.csv", "source,b\n1,2\n3\n", "x.csv:3: must have 2 fields"),
        ("x.txt", b"\xff", "must be text in UTF-8"),
        ("none.txt", None, "but is not there"),
    ],
)
def test_inputs_that_cannot_be_read(seqgraft, folder, tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    done = seqgraft("generate", folder, "-i", tmp_path / name, "-o", tmp_path / "out.txt")
    assert done.exit_code == 1
    assert message in done.stderr
    assert not (tmp_path / "out.txt").exists()


def test_wrong_names(seqgraft, folder, tmp_path):
    (tmp_path / "a.txt").write_text("a model\n")
    assert seqgraft("generate", folder, "-i", tmp_path / "a.doc", "-o", tmp_path / "b.txt").exit_code == 2
    assert seqgraft("generate", folder, "-i", tmp_path / "a.txt", "-o", tmp_path / "b").exit_code == 2
    assert seqgraft("generate", folder, "-i", tmp_path / "a.txt", "-o", tmp_path / "a.txt", "--force").exit_code == 2
    done = seqgraft("generate", folder, "-i", tmp_path / "a.txt", "-o", tmp_path / "no" / "b.txt")
    assert done.exit_code == 1
    assert "must be in a folder that is there" in done.stderr
    assert (tmp_path / "a.txt").read_text() == "a model\n"


def test_an_old_output_stays_until_the_new_one_is_complete(seqgraft, folder, tmp_path):
    file, out = tmp_path / "a.txt", tmp_path / "out.txt"
    file.write_text("a model\n" + "the model reads light " * 20 + "\n")
    out.write_text("old\n")
    done = seqgraft("generate", folder, "-i", file, "-o", out, *SHORT)
    assert done.exit_code == 1
    assert "pass --force" in done.stderr
    done = seqgraft("generate", folder, "-i", file, "-o", out, "--force", "--no-truncation", *SHORT)
    assert done.exit_code == 1
    assert "Input 2 has 82 tokens" in done.stderr
    assert out.read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "out.txt"]
    assert seqgraft("generate", folder, "-i", file, "-o", out, "--force", *SHORT).exit_code == 0
    assert len(out.read_text().splitlines()) == 2


def test_a_quantized_cache(seqgraft, folder, tmp_path):
    """Both settings as JSON; where a number is a group, the text is that of the plain cache."""
    (tmp_path / "a.txt").write_text(TEXTS[0] + "\n")

    def made(*more):
        done = seqgraft(
            "generate", folder, "-i", tmp_path / "a.txt", "-o", tmp_path / "b.txt", "--force", *SHORT, *more
        )
        return done, (tmp_path / "b.txt").read_text()

    quantized = ("--set", "cache_implementation=quantized", "--set")
    plain = made()[1]
    assert plain.strip()
    (tmp_path / "b.txt").write_text("")
    assert made(*quantized, "cache_config=" + json.dumps({"q_group_size": 1, "residual_length": 1}))[1] == plain
    refused = made(*quantized, 'cache_config={"nbits": 2}')[0]
    assert refused.exit_code == 2
    assert "must be 4 or 8, but is 2" in " ".join(refused.stderr.split())


def test_settings_and_task(seqgraft, folder, tmp_path):
    (tmp_path / "a.txt").write_text(TEXTS[0] + "\n")
    flags = ("--task", "summarization", "--num-beams", "3", "--max-new-tokens", "6", "--device", "cpu")
    assert seqgraft("generate", folder, "-i", tmp_path / "a.txt", "-o", tmp_path / "b.jsonl", *flags).exit_code == 0
    pipe = library.pipeline("summarization", model=folder, device=-1)
    made = json.loads((tmp_path / "b.jsonl").read_text())["prediction"]
    assert made == pipe(TEXTS[0], num_beams=3, max_new_tokens=6)[0]["summary_text"]
    assert seqgraft("generate", folder, "-i", tmp_path / "a.txt", "-o", tmp_path / "c.txt", "-t", "x").exit_code == 2
