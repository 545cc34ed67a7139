"""Of tokenizers with languages: training lets generation begin where its targets do, and the preflight sees to it."""

import pytest
import torch
import transformers

from seqgraft import EncoderDecoderModel
from seqgraft.errors import TokenizerError
from seqgraft.text import AutoTokenizer, PairTokenizer
from seqgraft.torch.special import language_start
from seqgraft.training.special import settle_special_ids
from seqgraft.training.trainer import train

from .conftest import tiny
from .test_data import made_of_languages

CASES = {
    "MBartTokenizer": ("MBart", "en_XX", "de_DE", "decoder_start_token_id"),
    "MBart50Tokenizer": ("MBart", "en_XX", "de_DE", "forced_bos_token_id"),
    "NllbTokenizer": ("M2M100", "eng_Latn", "deu_Latn", "forced_bos_token_id"),
}
PAIRS = [("the encoder reads", "one token after another"), ("source", "the decoder writes the target")] * 2


@pytest.mark.parametrize("cls", CASES)
def test_training_says_the_language(cls, tmp_path):
    """The preflight fails before and passes after; the folder then begins there in the reference, too."""
    family, source, language, name = CASES[cls]
    folder = made_of_languages(cls, family, tmp_path)
    model = EncoderDecoderModel.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, src_lang=source, tgt_lang=language)
    index = tokenizer.get_lang_id(language)
    assert language_start(model, tokenizer) == (name, index)
    told = str(model.check(tokenizer))
    assert f"targets are in {language}, but generation begins elsewhere: {name} must be {index}" in told
    result = train(model, tokenizer, PAIRS, output=tmp_path / "out", max_steps=1, device="cpu", progress=False)
    assert f"Targets are in {language}: generation begins with {name} = {index}." in " ".join(result.notes)
    assert settle_special_ids(model, tokenizer) is None
    again = EncoderDecoderModel.from_pretrained(tmp_path / "out")
    opened = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert "begins elsewhere" not in str(again.check(opened))
    texts = opened(["the encoder reads"], return_tensors="pt")
    found = again.generate(**texts, max_new_tokens=6)
    place = 0 if name == "decoder_start_token_id" else 1
    assert found[0, place] == index
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    assert torch.equal(theirs.generate(**texts, max_new_tokens=6), found)
    inputs = theirs(
        **texts, labels=torch.tensor([opened(text_target="one")["input_ids"]])
    ).logits  # what it learns from
    assert inputs.shape[1] == len(opened(text_target="one")["input_ids"])
    first = again.prepare_decoder_input_ids_from_labels(torch.tensor([opened(text_target="one")["input_ids"]]))
    assert first[0, : place + 1].tolist() == found[0, : place + 1].tolist()


def test_no_language_is_said(tmp_path):
    folder = made_of_languages("NllbTokenizer", "M2M100", tmp_path)
    model, tokenizer = EncoderDecoderModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    model.generation_config.forced_bos_token_id = 3
    assert language_start(model, tokenizer) is None
    settle_special_ids(model, tokenizer)
    assert model.generation_config.forced_bos_token_id == 3


def test_languages_of_the_side_that_has_them(tmp_path):
    folder = made_of_languages("NllbTokenizer", "M2M100", tmp_path)
    languages, plain = AutoTokenizer.from_pretrained(folder), tiny("bert", "gpt2").tokenizer.source
    PairTokenizer(plain, languages).save_pretrained(tmp_path / "writes")
    made = AutoTokenizer.from_pretrained(tmp_path / "writes", tgt_lang="deu_Latn")
    assert made.target.tgt_lang == made.tgt_lang == "deu_Latn"
    assert made(text_target="one")["input_ids"][0] == languages.get_lang_id("deu_Latn")
    PairTokenizer(languages, plain).save_pretrained(tmp_path / "reads")
    made = AutoTokenizer.from_pretrained(tmp_path / "reads", src_lang="deu_Latn")
    assert made.src_lang == "deu_Latn"
    assert made("one")["input_ids"][0] == languages.get_lang_id("deu_Latn")
    for place, said in (("writes", "src_lang"), ("reads", "tgt_lang")):
        with pytest.raises(TokenizerError, match=f"`{said}` must be left out, since the BertTokenizer of that side"):
            AutoTokenizer.from_pretrained(tmp_path / place, **{said: "deu_Latn"})
