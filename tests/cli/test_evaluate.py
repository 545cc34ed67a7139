"""`seqgraft evaluate`."""

import json

import pytest

import seqgraft as library

from ..pipelines.tiny import TEXTS

sacrebleu = pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")


@pytest.fixture(scope="module")
def data(folder, tmp_path_factory):
    """Targets that are what the model writes, but for two of them."""
    pipe = library.pipeline("text2text-generation", model=str(folder), device=-1)
    written = [record["generated_text"] for record in pipe(TEXTS, max_new_tokens=8)]
    written[1], written[3] = "something else", "water and light"
    file = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [{"source": s, "target": t or "x"} for s, t in zip(TEXTS, written, strict=True)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_figures_are_of_what_the_pipeline_writes(seqgraft, folder, data):
    flags = ("--max-new-tokens", 8, "--device", "cpu", "--samples", 50)
    done = seqgraft("evaluate", folder, "-d", data, *flags, "--json", "--worst", 2)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    pipe = library.pipeline("text2text-generation", model=str(folder), device=-1)
    written = [record["generated_text"].strip() for record in pipe(TEXTS, max_new_tokens=8)]
    true = [json.loads(line)["target"] for line in data.read_text().splitlines()]
    figures = {one["name"]: one for one in found["figures"]}
    assert figures["bleu"]["value"] == pytest.approx(sacrebleu.corpus_bleu(written, [true]).score)
    assert figures["exact"]["value"] == pytest.approx(100 * sum(a == b for a, b in zip(written, true, strict=True)) / 5)
    assert set(figures) == {"rouge1", "rouge2", "rougeL", "bleu", "chrf", "exact", "perplexity"}
    assert {one["number"] for one in found["worst"]} == {2, 4}
    assert found["worst"][0]["place"].startswith(f"{data}:")
    shown = seqgraft("evaluate", folder, "-d", data, *flags, "--metrics", "bleu,exact", "--worst", 1)
    lower = seqgraft(
        "evaluate", folder, "-d", data, *flags, "--metrics", "bleu", "--lowercase", "--bleu-tokenize", "none"
    )
    assert "case:lc" in lower.stdout
    assert "tok:none" in "".join(lower.stdout.split())
    assert f"{figures['bleu']['value']:.2f}" in shown.stdout
    assert "95% interval" in shown.stdout


def test_perplexity_is_the_models_own(seqgraft, folder, data):
    import math

    done = seqgraft("evaluate", folder, "-d", data, "--metrics", "perplexity", "--device", "cpu", "--json")
    found = json.loads(done.stdout)["figures"][0]["value"]
    model = library.EncoderDecoderModel.from_pretrained(folder)
    tokenizer = library.AutoTokenizer.from_pretrained(folder)
    total = count = 0
    for line in data.read_text().splitlines():
        row = json.loads(line)
        batch = tokenizer(row["source"], text_target=row["target"], return_tensors="pt")
        labels = batch["labels"][:, 1:]  # the start id is given, not written
        out = model(input_ids=batch["input_ids"], labels=labels)
        total, count = total + float(out.loss.detach()) * labels.numel(), count + labels.numel()
    assert found == pytest.approx(math.exp(total / count), rel=1e-5)


def test_compare(seqgraft, folder, data, tmp_path):
    model = library.EncoderDecoderModel.from_pretrained(folder)
    model.decoder.head.output.bias.data[5] = 50.0  # writes one word over and over
    model.save_pretrained(tmp_path / "other")
    library.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "other")
    flags = ("--max-new-tokens", 8, "--device", "cpu", "--samples", 200, "--metrics", "exact,chrf")
    done = seqgraft("evaluate", folder, "-d", data, *flags, "--compare", tmp_path / "other", "--json")
    assert done.exit_code == 0, done.stderr
    exact, chrf = json.loads(done.stdout)["compared"]
    assert (exact["name"], exact["own"], exact["other"]) == ("exact", 60.0, 0.0)
    assert chrf["p"] < 0.05
    same = seqgraft("evaluate", folder, "-d", data, *flags, "--compare", folder)
    assert "against" in same.stdout
    assert "1.000" in same.stdout


def test_bad_input(seqgraft, folder, data, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text(data.read_text() + "broken\n" + json.dumps({"source": "word " * 99, "target": "a"}) + "\n")
    flags = ("--metrics", "perplexity", "--device", "cpu", "--json")
    done = seqgraft("evaluate", folder, "-d", bad, *flags)
    assert (done.exit_code, f"{bad}:6: must be a JSON object" in done.stderr) == (1, True)
    done = seqgraft("evaluate", folder, "-d", bad, *flags, "--skip-bad")
    assert (json.loads(done.stdout)["examples"], json.loads(done.stdout)["left_out"]) == (5, 2)
    done = seqgraft("evaluate", folder, "-d", bad, "--metrics", "meteor")
    assert (done.exit_code, "must be of rouge, bleu, chrf" in done.stderr) == (1, True)
