"""Folders: ours open there, theirs open here, older layouts, overrides, and files that are not trusted."""

import json
import shutil

import pytest
import transformers
from tokenizers import AddedToken

from seqgraft import text
from seqgraft.errors import FolderError, TokenizerError
from seqgraft.text import AutoTokenizer
from seqgraft.text.families import BertTokenizer, GPT2Tokenizer, RobertaTokenizer

OVERRIDES = [
    {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>"},
    {"pad_token": "[new]", "mask_token": "[hole]"},
    {"cls_token": "[first]", "sep_token": "[last]"},
    {"additional_special_tokens": ["<a>", "<b>"]},
    {"extra_special_tokens": ["<a>", "<b>"]},
    {"model_max_length": 7, "padding_side": "left", "truncation_side": "left"},
    {"bos_token": "[new]", "add_bos_token": True},
    {"add_bos_token": True, "add_eos_token": True},
    {"clean_up_tokenization_spaces": True},
    {"split_special_tokens": True},
    {"model_input_names": ["input_ids"]},
]


def alike(ours, theirs, texts):
    assert len(ours) == len(theirs)
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.all_special_ids == theirs.all_special_ids
    for pair in (None, texts[::-1]):
        assert dict(ours(texts, pair)) == dict(theirs(texts, pair))
    for row in ours(texts)["input_ids"]:
        assert ours.decode(row) == theirs.decode(row)
        assert ours.decode(row, skip_special_tokens=True) == theirs.decode(row, skip_special_tokens=True)
    for name in ("model_max_length", "padding_side", "truncation_side", "model_input_names"):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize("overrides", OVERRIDES, ids=lambda o: "-".join(o))
def test_overrides(family, overrides, texts):
    """AutoTokenizer.from_pretrained(name, pad_token="<pad>", eos_token="</s>", bos_token="<s>") and sisters."""
    texts = [*texts, "a <a> x <b> y [hole] z [first] [new] </s> isn't it ?"]
    ours = AutoTokenizer.from_pretrained(family.whole, **overrides)
    if family.name == "llama-bos" and "add_bos_token" not in overrides:
        assert ours.add_bos_token
    alike(ours, transformers.AutoTokenizer.from_pretrained(family.whole, **overrides), texts)


@pytest.mark.parametrize(
    "overrides",
    [
        {"mask_token": AddedToken("[hole]", lstrip=True)},
        {"extra_special_tokens": ["<a>", AddedToken("<b>", rstrip=True)]},
    ],
    ids=lambda o: "-".join(o),
)
def test_overrides_with_flags(family, overrides, tmp_path):
    """The reference agrees, but for Qwen2, where it drops the flags."""
    ours = AutoTokenizer.from_pretrained(family.whole, **overrides)
    ours.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    if "mask_token" in overrides:
        assert again.named["mask_token"].lstrip
        assert json.loads((tmp_path / "special_tokens_map.json").read_text())["mask_token"]["lstrip"] is True
    line = "the   [hole]  <b>   the"
    assert again.tokenize(line) == ours.tokenize(line)
    assert again.added_tokens_decoder == ours.added_tokens_decoder
    if family.name != "qwen2":
        alike(ours, transformers.AutoTokenizer.from_pretrained(family.whole, **overrides), [line])


def test_a_token_with_flags_in_a_list(words, tmp_path):
    """special_tokens_map.json of 4.x; the reference of today fails on it."""
    folder = write(
        tmp_path / "folder", special_tokens_map={"additional_special_tokens": ["<x>", {**MASK, "content": "<y>"}]}
    )
    shutil.copy(words / "vocab.txt", folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("a   <y>") == ["a", "   <y>"]  # the token took the spaces
    assert tokenizer.added_tokens_decoder[tokenizer.convert_tokens_to_ids("<y>")].lstrip


@pytest.mark.parametrize("name", ["bert-uncased", "camembert", "gpt2"])
def test_unknown_token_overridden(families, name):
    """A new unknown token gets an id, and words that are unknown still get the vocabulary's."""
    ours = AutoTokenizer.from_pretrained(families[name].whole, unk_token="[none]")
    plain = AutoTokenizer.from_pretrained(families[name].whole)
    assert ours.unk_token_id == len(plain)
    assert ours("一 the")["input_ids"] == plain("一 the")["input_ids"]


@pytest.mark.parametrize("overrides", [{}, *OVERRIDES], ids=lambda o: "-".join(o) or "none")
def test_ours_open_there_and_here(family, overrides, texts, tmp_path):
    ours = AutoTokenizer.from_pretrained(family.whole, **overrides)
    ours(texts, padding=ours.pad_token is not None, truncation=True, max_length=3)  # must not reach the file
    paths = ours.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"),
    ]
    assert sorted(paths) == sorted(str(path) for path in tmp_path.iterdir())
    whole = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert (whole["padding"], whole["truncation"]) == (None, None)
    there = transformers.AutoTokenizer.from_pretrained(tmp_path)
    alike(ours, there, texts)
    again = AutoTokenizer.from_pretrained(tmp_path)
    alike(again, there, texts)
    assert again.extra_special_tokens == ours.extra_special_tokens


@pytest.mark.parametrize("overrides", [{}, {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>"}])
def test_minilm_there_and_back(minilm, overrides, texts, tmp_path):
    ours = AutoTokenizer.from_pretrained(minilm, **overrides)
    theirs = transformers.AutoTokenizer.from_pretrained(minilm, **overrides)
    alike(ours, theirs, texts)
    assert (ours.bos_token_id, ours.eos_token_id) == (theirs.bos_token_id, theirs.eos_token_id)
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    alike(ours, transformers.AutoTokenizer.from_pretrained(tmp_path / "ours"), texts)
    alike(AutoTokenizer.from_pretrained(tmp_path / "theirs"), theirs, texts)
    assert type(AutoTokenizer.from_pretrained(tmp_path / "ours")) is BertTokenizer


def test_added_tokens_survive(families, texts, tmp_path):
    ours = AutoTokenizer.from_pretrained(families["bert-uncased"].whole)
    ours.add_tokens(["Zauberwort", AddedToken("left", lstrip=True, normalized=False)])
    ours.add_special_tokens({"bos_token": "<go>", "extra_special_tokens": ["<one>"]})
    texts = [*texts, "ein Zauberwort  left <go> <one>"]
    ours.save_pretrained(tmp_path)
    alike(ours, transformers.AutoTokenizer.from_pretrained(tmp_path), texts)
    alike(ours, AutoTokenizer.from_pretrained(tmp_path), texts)


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


MASK = {"content": "[MASK]", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}
OLDER = {
    "special tokens map": {"special_tokens_map": {"mask_token": MASK, "pad_token": "[PAD]", "bos_token": "<go>"}},
    "additional": {"special_tokens_map": {"additional_special_tokens": ["<x>", "<y>"]}},
    "added tokens": {"added_tokens": {"word": 400, "<go>": 401}, "special_tokens_map": {"bos_token": "<go>"}},
    "typed": {"tokenizer_config": {"mask_token": {"__type": "AddedToken", **MASK}, "tokenizer_class": "BertTokenizer"}},
    "decoder": {
        "tokenizer_config": {
            "added_tokens_decoder": {
                "4": {**MASK, "special": True},
                "400": {**MASK, "content": "word", "special": False, "normalized": True},
            },
            "mask_token": "[MASK]",
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": False,
            "never_split": None,
        }
    },
    "named": {"tokenizer_config": {"image_token": "<image>", "tokenizer_class": "BertTokenizer"}},
    "named in a dictionary": {
        "tokenizer_config": {"extra_special_tokens": {"image_token": "<image>"}, "tokenizer_class": "BertTokenizer"}
    },
    "max_len": {"tokenizer_config": {"max_len": 9}},
    "fast": {"tokenizer_config": {"tokenizer_class": "BertTokenizerFast"}},
}


@pytest.mark.parametrize("layout", OLDER)
@pytest.mark.parametrize("whole", [False, True])
def test_older_layouts(families, words, layout, whole, texts, tmp_path):
    folder = write(tmp_path / "folder", config={"model_type": "bert"}, **OLDER[layout])
    shutil.copy(words / "vocab.txt", folder)
    if whole and layout != "added tokens":
        shutil.copy(families["bert-uncased"].whole / "tokenizer.json", folder)
    texts = [*texts, "a word <go> <x> y <y> [MASK]  [MASK] <image>"]
    ours, theirs = AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    alike(ours, theirs, texts)
    ours.save_pretrained(tmp_path / "again")
    alike(AutoTokenizer.from_pretrained(tmp_path / "again"), theirs, texts)


def test_class_of_a_folder(words, bytes_pairs, scored, tmp_path, families):
    assert type(AutoTokenizer.from_pretrained(words)) is BertTokenizer
    assert type(AutoTokenizer.from_pretrained(bytes_pairs)) is RobertaTokenizer  # its vocabulary holds <s>
    for model_type, expected in (("gpt2", GPT2Tokenizer), ("bart", RobertaTokenizer), ("qwen2", text.Qwen2Tokenizer)):
        folder = write(tmp_path / model_type, config={"model_type": model_type})
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(bytes_pairs / name, folder)
        assert type(AutoTokenizer.from_pretrained(folder)) is expected
    composed = {"model_type": "encoder-decoder", "encoder": {"model_type": "bert"}, "decoder": {"model_type": "gpt2"}}
    folder = write(tmp_path / "composed", config=composed)
    shutil.copy(words / "vocab.txt", folder)
    assert type(AutoTokenizer.from_pretrained(folder)) is BertTokenizer


def test_another_class_with_its_file(families, tmp_path, texts):
    """A class that is not built here still opens from tokenizer.json, without token types."""
    folder = write(tmp_path / "t5", tokenizer_config={"tokenizer_class": "T5Tokenizer", "pad_token": "<pad>"})
    shutil.copy(families["xlm-roberta"].whole / "tokenizer.json", folder)
    ours = AutoTokenizer.from_pretrained(folder)
    assert list(ours("a")) == ["input_ids", "attention_mask"]
    reference = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    assert ours(texts)["input_ids"] == reference(texts)["input_ids"]


def test_a_pipeline_of_its_own_is_kept(families, tmp_path, texts):
    """tokenizer.json is what the model was trained with, whatever its class would build (and saves as)."""
    folder = tmp_path / "own"
    shutil.copytree(families["gpt2"].whole, folder)
    whole = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    whole["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, whole["pre_tokenizer"]],
    }
    (folder / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    ours = AutoTokenizer.from_pretrained(folder)
    assert type(ours) is GPT2Tokenizer
    reference = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    assert ours.tokenize("3.5 12") == reference.tokenize("3.5 12")
    ours.save_pretrained(tmp_path / "saved")
    there = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert dict(there([*texts, "12 34"])) == dict(ours([*texts, "12 34"]))


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_sides_that_the_file_gives(families, tmp_path, name):
    """tokenizer.json may hold the padding and truncation of a call: its sides are taken, and its pad token by classes
    that say nothing of theirs."""
    shutil.copytree(families[name].whole, tmp_path / "folder")
    config = json.loads((tmp_path / "folder" / "tokenizer_config.json").read_text())
    config.pop("padding_side", None)
    config.pop("pad_token", None)
    write(tmp_path / "folder", tokenizer_config=config)
    whole = json.loads((tmp_path / "folder" / "tokenizer.json").read_text(encoding="utf-8"))
    pad = "</s>" if name == "llama" else "<pad>"
    whole["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Left"}
    fields = {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 1, "pad_type_id": 0}
    whole["padding"] = {**fields, "pad_token": pad}
    (tmp_path / "folder" / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    ours = AutoTokenizer.from_pretrained(tmp_path / "folder")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "folder")
    assert (ours.padding_side, ours.truncation_side) == ("left", "left")
    assert ours.pad_token == (pad if name == "llama" else None)
    alike(ours, theirs, ["the encoder", "a b c d e"])
    options = {"padding": name == "llama", "truncation": True, "max_length": 3}
    assert dict(ours(["the encoder", "a"], **options)) == dict(theirs(["the encoder", "a"], **options))


def test_saving_over_another_tokenizer(families, tmp_path):
    (tmp_path / "added_tokens.json").write_text('{"stale": 3}')
    (tmp_path / "model.safetensors").write_text("weights")
    AutoTokenizer.from_pretrained(families["bert-uncased"].whole).save_pretrained(tmp_path)
    assert not (tmp_path / "added_tokens.json").exists()
    assert (tmp_path / "model.safetensors").exists()


def test_unknown_fields_are_carried(words, tmp_path):
    folder = write(tmp_path / "folder", tokenizer_config={"never_split": None, "chat_template": "{{ x }}"})
    shutil.copy(words / "vocab.txt", folder)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert again["chat_template"] == "{{ x }}"
    assert again["tokenizer_class"] == "BertTokenizer"


def test_files_are_not_trusted(words, tmp_path, families):
    """Paths in a configuration are not followed, and code that it names is not run."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret\n")
    config = {
        "vocab_file": str(secret),
        "tokenizer_file": "../secret.txt",
        "auto_map": {"AutoTokenizer": ["evil.E", None]},
    }
    folder = write(tmp_path / "folder", tokenizer_config={**config, "tokenizer_class": "BertTokenizer"})
    shutil.copy(words / "vocab.txt", folder)
    (folder / "evil.py").write_text("raise SystemExit('run')")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert "secret" not in tokenizer.get_vocab()
    tokenizer.save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert not {"vocab_file", "tokenizer_file", "auto_map"} & set(again)
    with pytest.raises(FolderError, match="inside it"):
        AutoTokenizer.from_pretrained(folder, subfolder="../folder")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "must hold a tokenizer: tokenizer.json, vocab.txt, vocab.json with merges.txt, or a SentencePiece"),
        ({"tokenizer.json": "{}"}, "must hold a tokenizer's vocabulary, but cannot be read"),
        ({"tokenizer.json": "[" * 100_000}, "cannot be read"),
        ({"vocab.json": "[1]", "merges.txt": "a b"}, "cannot be read|must hold"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "a b c"}, "cannot be read|must hold"),
        ({"merges.txt": "a b"}, "so it must hold vocab.json too"),
        (
            {"tokenizer_config.json": '{"tokenizer_class": "T5Tokenizer"}', "vocab.txt": "a"},
            "must come with tokenizer.json",
        ),
        ({"vocab.txt": "[UNK]", "tokenizer_config.json": '{"pad_token": 5}'}, "`pad_token` must be a text"),
        ({"vocab.txt": "[UNK]", "tokenizer_config.json": '{"pad_token": {"text": "x"}}'}, "must be a text or"),
        ({"vocab.txt": "[UNK]", "tokenizer_config.json": '{"added_tokens_decoder": {"1": "x"}}'}, "tokens with flags"),
        ({"vocab.txt": "[UNK]", "tokenizer_config.json": '{"padding_side": "up"}'}, "`padding_side` must be 'left' or"),
        ({"vocab.txt": "[UNK]", "added_tokens.json": '{"x": "y"}'}, "must hold token -> id"),
    ],
)
def test_broken_folders(files, message, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises((TokenizerError, FolderError), match=message):
        AutoTokenizer.from_pretrained(tmp_path)


def test_no_folder(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FolderError, match="no-such/tokenizer"):
        AutoTokenizer.from_pretrained("no-such/tokenizer", local_files_only=True)
    with pytest.raises(TokenizerError, match=r"AutoTokenizer.from_pretrained\(name\)"):
        AutoTokenizer()


def test_unknown_arguments(minilm):
    with pytest.raises(TypeError, match="BertTokenizer takes no argument 'pad_tokn'"):
        AutoTokenizer.from_pretrained(minilm, pad_tokn="x")
    assert AutoTokenizer.from_pretrained(minilm, use_fast=False, revision="main", token=None).is_fast


def test_a_named_token_has_the_flags_of_the_file(families, tmp_path):
    """The configuration names the mask by its text alone, tokenizer.json knows that it takes the spaces before it."""
    ours = AutoTokenizer.from_pretrained(families["camembert"].whole)
    assert ours.named["mask_token"].lstrip
    ours.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "special_tokens_map.json").read_text())["mask_token"]["lstrip"] is True
