"""Two vocabularies in one folder."""

import pickle

import pytest

from seqgraft import text
from seqgraft.errors import TokenizerError
from seqgraft.text import AutoTokenizer, PairTokenizer, pair

LINES = ["The encoder reads", "It's new!"]
TARGETS = ["the decoder writes the target", "Yes"]


@pytest.fixture
def two(families):
    return (
        AutoTokenizer.from_pretrained(families["bert-uncased"].whole),
        AutoTokenizer.from_pretrained(families["gpt2"].whole, pad_token="<pad>"),
    )


def test_each_side_has_its_own(two):
    source, target = two
    both = pair(source, target)
    assert isinstance(both, PairTokenizer)
    batch = both(LINES, text_target=TARGETS, padding=True)
    assert dict(batch) == {**source(LINES, padding=True), "labels": target(TARGETS, padding=True)["input_ids"]}
    assert dict(both(LINES)) == dict(source(LINES))
    assert dict(both(text_target=TARGETS)) == dict(target(TARGETS))
    assert both.encode(LINES[0]) == source.encode(LINES[0])
    ids = target(TARGETS)["input_ids"]
    assert both.batch_decode(ids, skip_special_tokens=True) == TARGETS
    assert both.decode(ids[0]) == TARGETS[0]
    assert both.eos_token_id == target.eos_token_id != source.sep_token_id
    assert both.pad_token_id == target.pad_token_id
    assert len(both) == len(target)
    assert list(both.pad({"input_ids": [[2], [2, 3]]})) == list(source.pad({"input_ids": [[2], [2, 3]]}))
    assert both.model_input_names == source.model_input_names
    with pytest.raises(TokenizerError, match="`text`, `text_target` or both"):
        both()
    with pytest.raises(AttributeError):
        _ = both.no_such_name
    with pytest.raises(TokenizerError, match="`target` must be a tokenizer, but is a str"):
        PairTokenizer(source, "gpt2")


def test_lengths_of_each_side(two):
    both = pair(*two)
    batch = both(LINES, text_target=TARGETS, truncation=True, max_length=5, max_target_length=3)
    assert [max(map(len, batch[key])) for key in ("input_ids", "labels")] == [5, 3]
    batch = both(LINES, text_target=TARGETS, truncation=True, max_length=4)
    assert [max(map(len, batch[key])) for key in ("input_ids", "labels")] == [4, 4]


def test_setting_reaches_the_sides(two):
    source, target = two
    both = pair(source, target)
    both.pad_token = "<mask>"
    assert target.pad_token == "<mask>"
    assert source.pad_token == "[PAD]"
    both.padding_side = "left"
    assert (source.padding_side, target.padding_side) == ("left", "left")


def test_folder(two, tmp_path):
    source, target = two
    both = pair(source, target)
    paths = both.save_pretrained(tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")) == sorted(
        f"{folder}{name}"
        for folder in ("", "target_tokenizer/")
        for name in ("special_tokens_map.json", "tokenizer.json", "tokenizer_config.json")
    )
    assert set(paths) == {str(path) for path in tmp_path.rglob("*.json")}
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(again, PairTokenizer)
    assert type(again.source) is text.BertTokenizer
    assert type(again.target) is text.GPT2Tokenizer
    assert dict(again(LINES, text_target=TARGETS)) == dict(both(LINES, text_target=TARGETS))
    alone = AutoTokenizer.from_pretrained(tmp_path, subfolder="target_tokenizer")
    assert dict(alone(TARGETS)) == dict(target(TARGETS))
    limited = AutoTokenizer.from_pretrained(tmp_path, model_max_length=3)
    assert (limited.source.model_max_length, limited.target.model_max_length) == (3, 3)


def test_a_plain_tokenizer_saved_over_a_pair(two, tmp_path):
    pair(*two).save_pretrained(tmp_path)
    two[0].save_pretrained(tmp_path)
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is text.BertTokenizer


def test_one_tokenizer_is_no_pair(families):
    folder = families["bert-uncased"].whole
    first, second = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert pair(first, first) is first
    second(LINES, padding=True)  # the last call does not matter
    assert pair(first, second) is first
    second.add_tokens("neu")
    assert isinstance(pair(first, second), PairTokenizer)
    cased = AutoTokenizer.from_pretrained(families["bert-cased"].whole)
    assert isinstance(pair(first, cased), PairTokenizer)


def test_pickling(two):
    both = pair(*two)
    again = pickle.loads(pickle.dumps(both))
    assert dict(again(LINES, text_target=TARGETS)) == dict(both(LINES, text_target=TARGETS))
    assert repr(again) == repr(both)
    assert repr(both).startswith("PairTokenizer(source=BertTokenizer(")
