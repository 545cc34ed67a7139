"""`seqgraft run`."""

import json

import pytest

import seqgraft as library
from seqgraft.generation import TextStreamer

from ..pipelines.tiny import LONGEST, TEXTS

RUN = ("run", "--task", "summarization", "--device", "cpu", "--max-new-tokens", "6", "--model")


def _lines(records, key="summary_text"):
    return [" ".join(record[key].splitlines()).strip() for record in records]


def test_empty_lines_keep_their_place(seqgraft, folder):
    texts = [TEXTS[0], "", TEXTS[1], "   ", TEXTS[2], ""]
    expected = library.pipeline("summarization", model=folder, device=-1, max_new_tokens=6)
    wanted = [_lines(expected(text))[0] if text.strip() else "" for text in texts]
    for size in (1, 2, 4, 8):
        done = seqgraft(*RUN, folder, "--batch-size", size, stdin="\n".join(texts) + "\n")
        assert done.exit_code == 0, done.stderr
        assert done.stdout.split("\n")[:-1] == wanted
    assert seqgraft(*RUN, folder, stdin="").stdout == ""
    windows = seqgraft(*RUN, folder, stdin="\r\n".join(texts) + "\r\n")
    assert windows.stdout.split("\n")[:-1] == wanted


def test_whole(seqgraft, folder):
    text = "The plant\nmakes energy\n\nfrom light.\n"
    pipe = library.pipeline("summarization", model=folder, device=-1, max_new_tokens=6)
    assert seqgraft(*RUN, folder, "--whole", stdin=text).stdout.splitlines() == _lines(pipe(text.rstrip()))


@pytest.mark.parametrize(
    ("task", "key"),
    [
        ("summarization", "summary_text"),
        ("translation", "translation_text"),
        ("translation_en_to_de", "translation_text"),
        ("text2text-generation", "generated_text"),
    ],
)
def test_json(seqgraft, folder, task, key):
    arguments = ("run", "-t", task, "-m", folder, "--max-new-tokens", 5, "--json")
    done = seqgraft(*arguments, stdin="\n".join([*TEXTS, "", "é 日本\n"]))
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert records[: len(TEXTS)] == library.pipeline(task, model=folder, device=-1, max_new_tokens=5)(TEXTS)
    assert records[len(TEXTS)] == {key: ""}
    assert len(records) == len(TEXTS) + 2


def test_two_tokenizers(seqgraft, two):
    pipe = library.pipeline("summarization", model=two, device=-1, max_new_tokens=6)
    done = seqgraft(*RUN, two, "--batch-size", "3", stdin="\n".join(TEXTS))
    assert done.stdout.split("\n")[:-1] == _lines(pipe(TEXTS))


FLAGS = {
    "--max-length 5": {"max_length": 5},
    "--max-new-tokens 7": {"max_new_tokens": 7},
    "--min-length 6 --max-length 9": {"min_length": 6, "max_length": 9},
    "--min-new-tokens 6 --max-new-tokens 9": {"min_new_tokens": 6, "max_new_tokens": 9},
    "--num-beams 3 --length-penalty 2.5 --early-stopping --max-new-tokens 6": {
        "num_beams": 3,
        "length_penalty": 2.5,
        "early_stopping": True,
        "max_new_tokens": 6,
    },
    "--no-repeat-ngram-size 1 --max-new-tokens 8": {"no_repeat_ngram_size": 1, "max_new_tokens": 8},
    "--repetition-penalty 3.5 --max-new-tokens 8": {"repetition_penalty": 3.5, "max_new_tokens": 8},
    "--do-sample --temperature 2.5 --top-k 9 --top-p 0.8 --max-new-tokens 8 --seed 3": {
        "do_sample": True,
        "temperature": 2.5,
        "top_k": 9,
        "top_p": 0.8,
        "max_new_tokens": 8,
    },
    "--do-sample --min-p 0.05 --typical-p 0.9 --num-return-sequences 2 --max-new-tokens 8 --seed 3": {
        "do_sample": True,
        "min_p": 0.05,
        "typical_p": 0.9,
        "num_return_sequences": 2,
        "max_new_tokens": 8,
    },
    "--num-beams 2 --set early_stopping=never --set bad_words_ids=[[5],[6]] --max-new-tokens 8": {
        "num_beams": 2,
        "early_stopping": "never",
        "bad_words_ids": [[5], [6]],
        "max_new_tokens": 8,
    },
}


@pytest.mark.parametrize("flags", FLAGS)
def test_generation_flags(seqgraft, folder, monkeypatch, flags):
    import torch

    from seqgraft.pipelines import Text2TextGenerationPipeline

    asked = []
    of = Text2TextGenerationPipeline._settings
    monkeypatch.setattr(
        Text2TextGenerationPipeline, "_settings", lambda self, what: asked.append(what.settings) or of(self, what)
    )
    done = seqgraft("run", "-t", "summarization", "-m", folder, *flags.split(), stdin=TEXTS[0])
    assert done.exit_code == 0, done.stderr
    settings = {name: value for name, value in asked[0].items() if value is not None}
    assert settings == FLAGS[flags]
    torch.manual_seed(3)
    pipe = library.pipeline("summarization", model=folder, device=-1)
    assert done.stdout.splitlines() == ["\t".join(_lines(pipe(TEXTS[0], **FLAGS[flags])))]


def test_a_stop_string_ends_the_result(seqgraft, folder):
    whole = seqgraft(*RUN, folder, "--max-new-tokens", "8", stdin=TEXTS[0]).stdout.strip()
    stop = whole[2:5]
    for flag in (("--stop-string", stop), ("--set", f"stop_strings={json.dumps([stop])}")):
        done = seqgraft(*RUN, folder, "--max-new-tokens", "8", *flag, stdin=TEXTS[0])
        assert done.exit_code == 0, done.stderr
        assert whole.startswith(done.stdout.strip())
        assert stop in done.stdout
        assert len(done.stdout.strip()) < len(whole), flag


@pytest.mark.parametrize("wrong", ["--set=nonsense=3", "--set=num_beams", "--num-beams=0", "--temperature=-1"])
def test_wrong_settings_are_wrong_usage(seqgraft, wrong):
    done = seqgraft("run", "-t", "summarization", "-m", "no-such-model", wrong)
    assert done.exit_code == 2


def test_stream(seqgraft, folder, monkeypatch):
    plain = seqgraft(*RUN, folder, stdin="\n".join([TEXTS[0], "", TEXTS[1]])).stdout
    pieces = []
    put = TextStreamer.put
    monkeypatch.setattr(TextStreamer, "put", lambda self, value: pieces.append(value) or put(self, value))
    streamed = seqgraft(*RUN, folder, "--stream", stdin="\n".join([TEXTS[0], "", TEXTS[1]])).stdout
    assert streamed == plain
    assert len(pieces) > 4
    for other in (("--json",), ("--batch-size", "2")):
        assert seqgraft(*RUN, folder, "--stream", *other).exit_code == 2
    beams = ("--num-beams", "2")
    assert seqgraft(*RUN, folder, "--stream", *beams, stdin=TEXTS[0]).stdout == (
        seqgraft(*RUN, folder, *beams, stdin=TEXTS[0]).stdout
    )


def test_a_long_text_is_cut_and_said_or_refused(seqgraft, folder):
    long = "the model reads light " * 20
    done = seqgraft(*RUN, folder, "--batch-size", "2", stdin=f"a model\n\n{long}\n{long}\n")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 4
    for line in (3, 4):
        assert f"Input {line} has 82 tokens: the first {LONGEST} are read." in done.stderr.splitlines()
    done = seqgraft(*RUN, folder, "--no-truncation", stdin=f"a model\n\n{long}\n")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 2  # what was ready stays
    assert "Error: Input 3 has 82 tokens" in done.stderr


def test_a_message_comes_once(seqgraft, folder):
    done = seqgraft("run", "-t", "summarization", "-m", folder, "--max-length", "20", stdin="a model\na model\n")
    assert done.exit_code == 0
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("Warning: `max_length` is 20")


def test_input_that_is_not_text(seqgraft, folder):
    done = seqgraft(*RUN, folder, stdin=b"a model\n\xff\xfe\n")
    assert done.exit_code == 1
    assert "line 2" in done.stderr
    assert "UTF-8" in done.stderr


def test_devices_and_dtypes(seqgraft, folder):
    assert seqgraft(*RUN, folder, "--dtype", "bfloat16", stdin="a model").exit_code == 0
    done = seqgraft("run", "-t", "summarization", "-m", folder, "--device", "99", stdin="a model")
    assert done.exit_code == 1
    assert "GPUs are seen" in done.stderr
    assert "`dtype`" in seqgraft(*RUN, folder, "--dtype", "int3", stdin="a model").stderr


def test_another_tokenizer(seqgraft, folder, tmp_path):
    library.EncoderDecoderModel.from_pretrained(folder).save_pretrained(tmp_path)
    done = seqgraft(*RUN, tmp_path, stdin="a model")
    assert done.exit_code == 1
    assert "must hold a tokenizer" in done.stderr
    assert seqgraft(*RUN, tmp_path, "--tokenizer", folder, stdin="a model").exit_code == 0


def test_without_a_model(seqgraft):
    text = "def read(path):\n    with open(path) as file:\n        return json.load(file)\n"
    done = seqgraft("run", "-t", "summarization", "--device", "cpu", "--whole", stdin=text)
    assert done.exit_code == 0, done.stderr
    expected = library.pipeline("summarization", device=-1)(text.rstrip())
    assert done.stdout.splitlines() == _lines(expected)
    for task in ("translation_en_to_de", "text2text-generation"):
        done = seqgraft("run", "-t", task, stdin=text)
        assert done.exit_code == 2
        assert "only summarization has a model of its own" in " ".join(done.stderr.replace("│", " ").split())
