"""What pipelines refuse and what they warn of, and how they are made."""

import json
import logging
import shutil

import pytest
import torch

import seqgraft
from seqgraft.errors import ConfigurationError, GenerationError, TokenizerError

from . import tiny
from .tiny import LONGEST, TEXTS

LONG = "the model reads light " * 20


@pytest.fixture
def warned(caplog):
    caplog.set_level(logging.INFO, logger="seqgraft.pipelines")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "seqgraft.pipelines"]


@pytest.mark.parametrize("task", [None, "summarize", "translation_to_de", "translation_en_in_de", "translation__to_de"])
def test_unknown_task(task):
    with pytest.raises(ConfigurationError, match=r"`task` must be one of summarization, translation, .* but is"):
        seqgraft.pipeline(task, model="anything")


@pytest.mark.parametrize("task", ["translation", "translation_en_to_de", "text2text-generation"])
def test_no_default_model(task):
    said = rf"`model` must be given.*'summarization'.*pipeline\('{task}', model='"
    with pytest.raises(ConfigurationError, match=said):
        seqgraft.pipeline(task)


def test_unknown_options_are_named(folder, summarizer):
    with pytest.raises(TypeError, match="'lenght_penalty', 'nmu_beams'"):
        seqgraft.pipeline("summarization", model=folder, nmu_beams=3, lenght_penalty=1)
    with pytest.raises(TypeError, match="'nmu_beams'"):
        summarizer("a model", nmu_beams=3)


def test_impossible_settings(summarizer):
    with pytest.raises(GenerationError, match=r"num_beams.*0"):
        summarizer("a model", num_beams=0)
    with pytest.raises(ConfigurationError, match="batch_size"):
        summarizer("a model", batch_size=0)


def test_wrong_inputs(summarizer):
    with pytest.raises(TypeError, match="Input 1 must be a text, but is a int"):
        summarizer(["a", 3])
    with pytest.raises(TypeError, match="Input 2 must be a text"):
        list(summarizer(iter(["a", "b", None]), batch_size=2))
    with pytest.raises(TypeError, match="takes a text"):
        summarizer(3)


def test_a_source_that_is_too_long(summarizer, warned):
    with pytest.raises(GenerationError, match=rf"Input 1 has 82 tokens.*{LONGEST}.*truncation=True"):
        summarizer(["a model", LONG])
    cut = summarizer(["a model", LONG], truncation=True)
    assert warned()[-1] == f"Input 1 has 82 tokens: the first {LONGEST} are read."
    beginning = " ".join(LONG.split()[: LONGEST - 2])
    assert cut == summarizer(["a model", beginning])
    assert summarizer(LONG, truncation="longest_first") == summarizer(beginning)
    row = summarizer._encoded([LONG], summarizer._asked({"truncation": True}), 0)[0]
    assert len(row["input_ids"]) == len(row["attention_mask"]) == LONGEST
    with pytest.raises(GenerationError, match="truncation=True"):
        summarizer(LONG, truncation="do_not_truncate")


def test_length_warnings(folder, warned):
    summarizer = seqgraft.pipeline("summarization", model=folder, device=-1)
    summarizer(TEXTS[:3], max_length=20)
    assert warned() == [
        "`max_length` is 20, but an input has only 9 tokens; summaries are shorter than their sources, so consider "
        "max_length=4."
    ]
    summarizer(TEXTS[:3], max_length=4)
    summarizer(TEXTS[:3], max_new_tokens=20)
    assert len(warned()) == 1
    translator = seqgraft.pipeline("translation", model=folder, device=-1)
    translator(TEXTS[0], max_length=12)
    assert len(warned()) == 1
    translator(TEXTS[0], max_length=9)
    assert "9 tokens" in warned()[1]


def test_languages(folder):
    pipe = seqgraft.pipeline("translation_en_to_de", model=folder, device=-1, max_new_tokens=3)
    with pytest.raises(ConfigurationError, match=r"`src_lang` must be left out.*'en'"):
        pipe("a model", src_lang="en")
    with pytest.raises(ConfigurationError, match="`tgt_lang`"):
        seqgraft.pipeline("translation", model=folder, device=-1, tgt_lang="de")


def test_start_id_is_needed(tmp_path, warned):
    place = tiny.bert_pair(tmp_path, decoder_start_token_id=None, eos_token_id=None)
    pipe = seqgraft.pipeline("summarization", model=place, device=-1, max_new_tokens=3)
    with pytest.raises(GenerationError, match=r"decoder_start_token_id.*cls_token_id"):
        pipe("a model")
    ids = pipe("a model", decoder_start_token_id=2, return_tensors=True)[0]["summary_token_ids"]
    assert ids[0] == 2
    assert warned() == ["No `eos_token_id` is set: every output runs to the greatest length."]
    pipe.model.config.decoder_start_token_id = 2
    pipe("a model")


def test_pad_id_comes_from_the_tokenizer(tmp_path):
    place = tiny.bert_pair(tmp_path, pad_token_id=None)
    pipe = seqgraft.pipeline("summarization", model=place, device=-1, max_new_tokens=3)
    pipe.model.config.decoder.pad_token_id = None
    assert pipe._settings(pipe._asked({}))["pad_token_id"] == 0
    pipe.tokenizer.pad_token = None
    assert len(pipe(TEXTS)) == len(TEXTS)
    with pytest.raises(TokenizerError, match="batch_size"):
        pipe(TEXTS, batch_size=2)


def test_task_specific_params_and_prefix(tmp_path, folder):
    place = tmp_path / "pair"
    shutil.copytree(folder, place)
    config = json.loads((place / "config.json").read_text())
    config["prefix"] = "the "
    config["task_specific_params"] = {
        "summarization": {"max_length": 5, "num_beams": 2, "prefix": "writes ", "vocab_size": 3},
        "translation_en_to_de": {"max_length": 7},
    }
    (place / "config.json").write_text(json.dumps(config))
    plain = seqgraft.pipeline("text2text-generation", model=folder, device=-1)
    pipe = seqgraft.pipeline("summarization", model=place, device=-1)
    expected = plain("writes a model", max_length=5, num_beams=2)[0]["generated_text"]
    assert pipe("a model")[0]["summary_text"] == expected
    expected = plain("writes a model", max_new_tokens=6, num_beams=1)[0]["generated_text"]
    assert pipe("a model", max_new_tokens=6, num_beams=1)[0]["summary_text"] == expected
    other = seqgraft.pipeline("translation_en_to_de", model=place, device=-1)
    assert other("a model")[0]["translation_text"] == plain("the a model", max_length=7)[0]["generated_text"]


def test_model_object(folder, tmp_path):
    model = seqgraft.EncoderDecoderModel.from_pretrained(folder)
    pipe = seqgraft.pipeline("summarization", model=model, max_new_tokens=3)  # it knows its folder
    assert pipe.model is model
    fresh = seqgraft.EncoderDecoderModel(config=model.config)
    fresh.config.name_or_path = ""
    with pytest.raises(ConfigurationError, match="`tokenizer` must be given"):
        seqgraft.pipeline("summarization", model=fresh)
    with pytest.raises(ConfigurationError, match="dtype must be left out"):
        seqgraft.pipeline("summarization", model=model, dtype=torch.bfloat16)
    with pytest.raises(ConfigurationError, match="encoder-decoder"):
        seqgraft.pipeline("summarization", model=model.encoder, tokenizer=pipe.tokenizer)
    pipe.save_pretrained(tmp_path)
    again = seqgraft.pipeline("summarization", model=tmp_path, device=-1, max_new_tokens=3)
    assert again(TEXTS) == pipe(TEXTS)


@pytest.mark.parametrize("how", [{"dtype": "bfloat16"}, {"torch_dtype": torch.bfloat16}])
def test_dtype(folder, how):
    pipe = seqgraft.pipeline("summarization", model=folder, max_new_tokens=3, **how)
    assert pipe.model.dtype is torch.bfloat16
    assert pipe("a model")


def test_model_kwargs(folder):
    pipe = seqgraft.pipeline(
        "summarization", model=folder, device_map="auto", model_kwargs={"attn_implementation": "eager"}
    )
    assert pipe.model.encoder.layers[0].self_attention.eager
    with pytest.raises(TypeError, match="nonsense"):
        seqgraft.pipeline("summarization", model=folder, model_kwargs={"nonsense": 1})


def test_devices(folder):
    for device in (-1, "cpu", "-1", torch.device("cpu"), None, "auto"):
        expected = "cpu" if device not in (None, "auto") or not torch.cuda.is_available() else "cuda"
        assert seqgraft.pipeline("summarization", model=folder, device=device).device.type == expected
    with pytest.raises(ConfigurationError, match="GPUs are seen"):
        seqgraft.pipeline("summarization", model=folder, device=99)
    with pytest.raises(ConfigurationError, match="`device` must be"):
        seqgraft.pipeline("summarization", model=folder, device="graphics")
    with pytest.raises(ConfigurationError, match="one of them"):
        seqgraft.pipeline("summarization", model=folder, device=0, device_map="auto")


def test_framework(folder):
    assert seqgraft.pipeline("summarization", model=folder, framework="pt").framework == "pt"
    with pytest.raises(ConfigurationError, match="`framework` must be one of 'pt', 'flax', 'tf', but is 'mx'"):
        seqgraft.pipeline("summarization", model=folder, framework="mx")


def test_a_folder_without_a_tokenizer(tmp_path, folder):
    seqgraft.EncoderDecoderModel.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match="must hold a tokenizer"):
        seqgraft.pipeline("summarization", model=tmp_path)
    assert seqgraft.pipeline("summarization", model=tmp_path, tokenizer=folder, device=-1)("a model", max_new_tokens=2)


def test_a_plain_model_is_no_pair(tmp_path):
    with pytest.raises(ConfigurationError, match="from_encoder_decoder_pretrained"):
        seqgraft.pipeline("summarization", model=tiny.plain_bert(tmp_path))
