"""Tokenizers of many languages, from folders that the reference wrote and from bare files, against the reference."""

import importlib.util
import json

import pytest
import transformers

from seqgraft import text
from seqgraft.errors import TokenizerError
from seqgraft.text import AutoTokenizer

from .test_sentencepiece import CORPUS, config, needs_sentencepiece, train

CODES = {
    "MBartTokenizer": ("en_XX", "de_DE", "ro_RO"),
    "MBart50Tokenizer": ("en_XX", "de_DE", "gl_ES"),
    "NllbTokenizer": ("eng_Latn", "deu_Latn", "fra_Latn"),
    "M2M100Tokenizer": ("en", "de", "fr"),
    "PLBartTokenizer": ("java", "python", "en_XX"),
}
WHOLE = ("MBartTokenizer", "MBart50Tokenizer", "NllbTokenizer")
LINES = ["the encoder reads", "one token after another", "two  spaces, and more.", "", "source"]
FIRST = ["<s>", "<pad>", "</s>", "<unk>"]


def words(texts):
    """A scored vocabulary of the corpus' words and letters."""
    found = {"▁" + word for line in texts for word in line.split()} | {c for line in texts for c in line} | {"▁"}
    return [*((token, 0.0) for token in FIRST), *((token, -float(len(token))) for token in sorted(found))]


def whole(cls, folder):
    """A folder with a tokenizer.json, as the reference writes it."""
    kind = getattr(transformers, cls)
    if cls == "NllbTokenizer":
        vocab = {token: index for index, (token, _) in enumerate(words(CORPUS))}
        vocab |= {"▁t": len(vocab), "▁th": len(vocab) + 1}
        made = kind(vocab=vocab, merges=[("▁", "t"), ("▁t", "h"), ("▁th", "e")])
    else:
        codes = kind().get_vocab().keys() - {*FIRST, "<mask>", "▁"}
        made = kind(vocab=[*words(CORPUS), *((code, 0.0) for code in sorted(codes)), ("<mask>", 0.0)])
    made.save_pretrained(folder)
    return folder


def bare(cls, folder):
    """A folder with a SentencePiece model, as M2M-100 and PLBART are published."""
    kind = {"M2M100Tokenizer": "bpe", "PLBartTokenizer": "unigram"}.get(cls, "unigram")
    train(folder, "sentencepiece.bpe.model", model_type=kind)
    if cls == "M2M100Tokenizer":
        from sentencepiece import SentencePieceProcessor
        from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

        model = SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
        pieces = [model.id_to_piece(i) for i in range(3, model.get_piece_size())]
        vocab = {token: index for index, token in enumerate([*FIRST, *pieces])}
        (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
        languages = [f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES["m2m100"]]  # as the published file lists them
        (folder / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": languages}))
    return config(folder, tokenizer_class=cls)


@pytest.fixture(params=[*((cls, True) for cls in WHOLE), ("M2M100Tokenizer", False), ("PLBartTokenizer", False)])
def both(request, tmp_path):
    """(class name, ours, theirs, folder) before any language was said."""
    cls, ready = request.param
    if not ready and importlib.util.find_spec("sentencepiece") is None:
        pytest.skip("needs the extra seqgraft[sentencepiece]")
    folder = (whole if ready else bare)(cls, tmp_path / "m")
    return cls, AutoTokenizer.from_pretrained(folder), getattr(transformers, cls).from_pretrained(folder), folder


def same(ours, theirs):
    for line in LINES:
        assert ours(line)["input_ids"] == theirs(line)["input_ids"], line
        assert ours(line, "one")["input_ids"] == theirs(line, "one")["input_ids"]
    rows = ours(LINES, padding=True, truncation=True, max_length=6)
    assert dict(rows) == dict(theirs(LINES, padding=True, truncation=True, max_length=6))
    assert ours.num_special_tokens_to_add() == theirs.num_special_tokens_to_add()


def test_frames_of_each_language(both):
    cls, ours, theirs, folder = both
    first, second, third = CODES[cls]
    assert type(ours) is getattr(text, cls)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.src_lang == theirs.src_lang
    same(ours, theirs)
    for source, target in ((second, first), (first, third), (third, None)):
        ours.src_lang = theirs.src_lang = source
        same(ours, theirs)
        if target is None:
            continue
        ours.tgt_lang = theirs.tgt_lang = target
        got = ours(LINES, text_target=LINES[::-1], padding=True)
        assert dict(got) == dict(theirs(LINES, text_target=LINES[::-1], padding=True))
        assert got["labels"] != ours(LINES[::-1], padding=True)["input_ids"]  # another language's
        assert ours(text_target=LINES)["input_ids"] == theirs(text_target=LINES)["input_ids"]
        same(ours, theirs)  # and texts are framed as before
        again = AutoTokenizer.from_pretrained(folder, src_lang=source, tgt_lang=target)
        assert dict(again(LINES, text_target=LINES)) == dict(ours(LINES, text_target=LINES))


def test_ids_of_languages(both):
    cls, ours, theirs, _ = both
    for code in CODES[cls]:
        token = {"M2M100Tokenizer": f"__{code}__", "PLBartTokenizer": f"__{code}__"}.get(cls, code)
        expected = theirs.convert_tokens_to_ids(token)
        assert ours.get_lang_id(code) == ours.convert_tokens_to_ids(token) == expected != theirs.unk_token_id
        assert ours.get_lang_token(code) == token
        assert token in ours.all_special_tokens
    if hasattr(theirs, "lang_code_to_id"):
        assert ours.lang_code_to_id == dict(theirs.lang_code_to_id)
    with pytest.raises(TokenizerError, match=r"`src_lang` must be one of .*, but is 'xx'"):
        ours.src_lang = "xx"
    with pytest.raises(TokenizerError, match=r"`tgt_lang` must be one of .*, but is 'xx'"):
        ours.tgt_lang = "xx"
    with pytest.raises(TokenizerError, match="`lang` must be one of"):
        ours.get_lang_id("xx")


def test_saved_and_opened_again(both, tmp_path):
    cls, ours, theirs, _ = both
    first, second, third = CODES[cls]
    ours.src_lang, ours.tgt_lang = second, third
    theirs.src_lang, theirs.tgt_lang = second, third
    ours.save_pretrained(tmp_path / "ours")
    again = AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert (type(again), again.src_lang, again.tgt_lang) == (type(ours), ours.src_lang, ours.tgt_lang)
    assert dict(again(LINES, text_target=LINES)) == dict(theirs(LINES, text_target=LINES))
    there = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert there(LINES)["input_ids"] == theirs(LINES)["input_ids"]
    if cls in WHOLE:
        assert type(there).__name__ == cls
        assert dict(there(LINES, text_target=LINES)) == dict(theirs(LINES, text_target=LINES))
    assert first in "".join(again.lang_code_to_id)


def test_nllb_as_it_was(tmp_path):
    folder = whole("NllbTokenizer", tmp_path / "m")
    how = {"src_lang": "deu_Latn", "tgt_lang": "fra_Latn", "legacy_behaviour": True}
    ours = AutoTokenizer.from_pretrained(folder, **how)
    theirs = transformers.NllbTokenizer.from_pretrained(folder, **how)
    assert dict(ours(LINES, text_target=LINES)) == dict(theirs(LINES, text_target=LINES))
    assert ours("source")["input_ids"][-1] == ours.get_lang_id("deu_Latn")


@needs_sentencepiece
@pytest.mark.parametrize("cls", ["MBartTokenizer", "MBart50Tokenizer"])
def test_from_a_sentencepiece_model(cls, tmp_path):
    """The languages follow the pieces, and the mask is last, as fairseq counts them."""
    from sentencepiece import SentencePieceProcessor

    folder = bare(cls, tmp_path / "m")
    ours = AutoTokenizer.from_pretrained(folder, src_lang="de_DE")
    model = SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    ids = [index + 1 for index in model.encode("The encoder reads the source")]
    assert ours("The encoder reads the source", add_special_tokens=False)["input_ids"] == ids
    assert ours.get_lang_id("ar_AR") == model.get_piece_size() + 1
    assert ours.mask_token_id == len(ours) - 1 == model.get_piece_size() + 1 + len(ours.lang_code_to_id)


def test_a_tokenizer_without_languages_says_so(tmp_path):
    plain = text.BertTokenizer(vocab={"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "[MASK]": 4})
    plain.save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="takes no argument 'src_lang'"):
        AutoTokenizer.from_pretrained(tmp_path, src_lang="en_XX")
