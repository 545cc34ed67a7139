"""What pipelines give: the reference's texts, in every form of input and output."""

import warnings
from collections.abc import Iterator

import pytest
import torch

import seqgraft
from seqgraft.pipelines import SummarizationPipeline, Text2TextGenerationPipeline, TranslationPipeline

from .tiny import TEXTS

SETTINGS = {
    "greedy": {"max_new_tokens": 8},
    "beams": {"max_new_tokens": 8, "num_beams": 3, "length_penalty": 0.5, "early_stopping": True},
    "least": {"max_new_tokens": 9, "min_new_tokens": 5, "repetition_penalty": 1.3},
    "ngrams": {"max_length": 10, "num_beams": 2, "no_repeat_ngram_size": 2},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("place", ["folder", "two"])
def test_equals_the_reference(request, reference, name, batch_size, place):
    place = request.getfixturevalue(place)
    pipe = seqgraft.pipeline("text2text-generation", model=place, device="cpu")
    made = pipe(TEXTS, batch_size=batch_size, **SETTINGS[name])
    texts = [record["generated_text"] for record in made]
    assert texts == reference(place, TEXTS, **SETTINGS[name])
    assert len(set(texts)) == len(TEXTS)  # otherwise a wrong order would not be seen


@pytest.mark.parametrize(
    ("task", "kind", "key"),
    [
        ("summarization", SummarizationPipeline, "summary_text"),
        ("translation", TranslationPipeline, "translation_text"),
        ("translation_en_to_de", TranslationPipeline, "translation_text"),
        ("text2text-generation", Text2TextGenerationPipeline, "generated_text"),
    ],
)
def test_tasks(folder, task, kind, key):
    pipe = seqgraft.pipeline(task, model=str(folder), device=torch.device("cpu"), max_new_tokens=4)
    assert type(pipe) is kind
    assert pipe.task == task
    assert [list(record) for record in pipe("a model")] == [[key]]


def test_forms_of_input(summarizer):
    one = [summarizer(text) for text in TEXTS]
    assert all(isinstance(records, list) and len(records) == 1 for records in one)
    assert summarizer(TEXTS) == [records[0] for records in one]
    assert summarizer(tuple(TEXTS)) == summarizer(TEXTS)
    assert list(summarizer((text for text in TEXTS), batch_size=2)) == one
    assert summarizer([]) == []

    class Numbered(torch.utils.data.Dataset):
        def __len__(self):
            return len(TEXTS)

        def __getitem__(self, index):
            return TEXTS[index]

    assert list(summarizer(Numbered(), batch_size=4)) == one


def test_a_generator_is_read_as_results_are_taken(summarizer):
    read = []

    def texts() -> Iterator[str]:
        for text in TEXTS:
            read.append(text)
            yield text

    results = summarizer(texts(), batch_size=2)
    assert read == []
    next(results)
    assert len(read) == 2
    next(results)
    next(results)
    assert len(read) == 4


def test_token_ids(summarizer):
    text = summarizer(TEXTS[0])[0]["summary_text"]
    ids = summarizer(TEXTS[0], return_tensors=True)
    assert list(ids[0]) == ["summary_token_ids"]
    assert summarizer.tokenizer.decode(ids[0]["summary_token_ids"], skip_special_tokens=True) == text
    both = summarizer(TEXTS[0], return_tensors=True, return_text=True)[0]
    assert both["summary_text"] == text
    assert torch.equal(both["summary_token_ids"], ids[0]["summary_token_ids"])
    assert list(summarizer(TEXTS[0], return_type="tensors")[0]) == ["summary_token_ids"]
    with pytest.raises(ValueError, match="return_text"):
        summarizer(TEXTS[0], return_text=False)
    with pytest.raises(ValueError, match="return_type"):
        summarizer(TEXTS[0], return_type="json")


def test_several_results_of_a_text(summarizer):
    made = summarizer(TEXTS[:3], num_beams=3, num_return_sequences=2, batch_size=2)
    assert [len(records) for records in made] == [2, 2, 2]
    assert made[1] == summarizer(TEXTS[1], num_beams=3, num_return_sequences=2)
    assert made[0][0] != made[0][1]


def test_clean_up(folder, monkeypatch):
    pipe = seqgraft.pipeline("summarization", model=folder, device=-1, max_new_tokens=6)
    seen = []
    decode = pipe.tokenizer.decode

    def watched(ids, **how):
        seen.append(how["clean_up_tokenization_spaces"])
        return decode(ids, **how)

    monkeypatch.setattr(pipe.tokenizer, "decode", watched)
    pipe("a model")
    pipe("a model", clean_up_tokenization_spaces=False)
    pipe("a model", clean_up_tokenization_spaces=True)
    assert seen == [None, False, True]


def test_sampling_follows_the_seed(summarizer):
    def drawn():
        torch.manual_seed(7)
        return summarizer(TEXTS[:2], do_sample=True, temperature=3.0)

    assert drawn() == drawn()
    assert drawn() != summarizer(TEXTS[:2])


def test_streamer(summarizer, capsys):
    streamer = seqgraft.TextStreamer(summarizer.tokenizer, skip_prompt=True, skip_special_tokens=True)
    made = summarizer(TEXTS[:3], streamer=streamer, batch_size=3)
    assert capsys.readouterr().out.splitlines() == [record["summary_text"] for record in made]


def test_a_model_in_training_mode_runs_without_dropout(folder):
    model = seqgraft.EncoderDecoderModel.from_pretrained(folder)
    tokenizer = seqgraft.AutoTokenizer.from_pretrained(folder)
    pipe = seqgraft.pipeline("summarization", model=model, tokenizer=tokenizer, max_new_tokens=6)
    quiet = pipe(TEXTS)
    model.train()
    assert pipe(TEXTS) == quiet
    assert model.training


def test_lengths_said_last_hold(folder):
    pipe = seqgraft.pipeline("text2text-generation", model=folder, device=-1, max_new_tokens=3, eos_token_id=None)

    def length(**how):
        return len(pipe("a model", return_tensors=True, **how)[0]["generated_token_ids"])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (length(), length(max_length=6), length(max_new_tokens=2)) == (4, 6, 3)
        pipe.model.generation_config.max_length = 9
        assert length() == 4


def test_stop_sequence(summarizer):
    def ids(text, **how):
        return summarizer(text, max_new_tokens=16, return_tensors=True, **how)[0]["summary_token_ids"].tolist()

    for text in TEXTS:
        made = ids(text)
        words = [token for token in summarizer.tokenizer.convert_ids_to_tokens(made)[2:] if token.isalpha()]
        for word in words:
            stop = summarizer.tokenizer.convert_tokens_to_ids(word)
            assert ids(text, stop_sequence=word) == made[: made.index(stop) + 1]
            return
    raise AssertionError("no output holds a word")


def test_stop_sequence_needs_a_token(summarizer):
    with pytest.raises(ValueError, match="stop_sequence"):
        summarizer(TEXTS[0], stop_sequence="")


def test_settings_that_read_texts_get_the_tokenizer(summarizer):
    """`stop_strings` and, of two tokenizers, the source's words come from the pipeline's own tokenizer."""
    text = "the model reads one text"
    whole = summarizer(text, max_new_tokens=12)[0]["summary_text"]
    stop = whole[2:].split()[-1][0]
    ended = summarizer(text, max_new_tokens=12, stop_strings=[stop])[0]["summary_text"]
    assert whole.startswith(ended)
    assert stop in ended
    assert ended != whole
    favoured = summarizer(text, max_new_tokens=12, encoder_repetition_penalty=1.7)[0]["summary_text"]
    assert favoured != whole
