"""Stop strings against the reference's criterion and against decoded text, in every kind of vocabulary."""

import random

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers.generation.stopping_criteria import StopStringCriteria as Reference

from seqgraft.errors import GenerationError
from seqgraft.text import PairTokenizer, PreTrainedTokenizerFast
from seqgraft.torch.stop_strings import StopStringCriteria


def pieces(alphabet, seed):
    r = random.Random(seed)
    made = dict.fromkeys(alphabet)
    while len(made) < 60:
        made["".join(r.choices(alphabet, k=r.randint(2, 5)))] = None
    return list(made)


def word_piece():
    words = [*"abcdefs", *pieces("stop", 0)]
    tokens = ["[UNK]", "[PAD]", *dict.fromkeys([*words, *("##" + word for word in words)]), ".", ","]
    backend = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return backend, ["stop", "p s", "osto", "op", "tt", "o"]


def byte_level():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*pieces("stop", 1), *("Ġ" + word for word in pieces("stop", 2)), "Ã©s"]
    tokens = [*dict.fromkeys([*alphabet, *words])]
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token=None))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend, ["stop", "p s", "é", "té", "\n", "p\n"]


def byte_fallback():
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefstop", *pieces("stop", 3), "é", "▁st"]
    tokens = [*dict.fromkeys([*words, *("▁" + word for word in pieces("stop", 4))])]
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token="<unk>", fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return backend, ["stop", "p s", "é", "té", "\n", "os\n"]


KINDS = [word_piece, byte_level, byte_fallback]


def biased_rows(count, vocabulary, seed):
    """Rows of ids in which the letters of the stop strings abound."""
    r = random.Random(seed)
    likely = [index for token, index in vocabulary.items() if set(token) <= set("stop#Ġ▁é.")]
    rare = [index for token, index in vocabulary.items() if token in ("Ã", "©", "Ċ", "<0xC3>", "<0xA9>", "<0x0A>", "é")]
    likely += 12 * rare
    return torch.tensor(
        [[r.choice(likely if r.random() < 0.95 else [*vocabulary.values()]) for _ in range(9)] for _ in range(count)]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_equal_to_the_criterion_of_the_reference(kind):
    backend, texts = kind()
    theirs_tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
    ours_tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    rows = biased_rows(3000, backend.get_vocab(), 0)
    for stops in (*texts, texts, texts[:2]):
        theirs = Reference(theirs_tokenizer, stops)
        for tokenizer in (ours_tokenizer, theirs_tokenizer):
            ours = StopStringCriteria(tokenizer, stops)
            ended = 0
            for length in (1, 2, 5, 9):
                found = ours(rows[:, :length], None)
                assert torch.equal(found, theirs(rows[:, :length], None)), (stops, length)
                ended += int(found.sum())
            assert 0 < ended < 4 * len(rows), stops


def test_equal_to_decoded_text():
    """A row ends when its text has the string, and had it not without the last token's last characters."""
    backend = byte_level()[0]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    words = [index for token, index in backend.get_vocab().items() if set(token) <= set("stop")]
    rows = torch.tensor([random.Random(seed).choices(words, k=6) for seed in range(2000)])
    found = StopStringCriteria(tokenizer, "top")(rows, None)
    for row, ended in zip(rows, found.tolist(), strict=True):
        text, before = tokenizer.decode(row), tokenizer.decode(row[:-1])
        assert ended == ("top" in text[max(0, len(before) - 2) :])
    assert 5 < found.sum() < 1900


def test_ids_beyond_the_vocabulary_and_empty_rows():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_piece()[0])
    criterion = StopStringCriteria(tokenizer, ["stop"])
    vocabulary = tokenizer.get_vocab()
    ids = torch.tensor([[vocabulary["s"], vocabulary["##t"], vocabulary["##o"], vocabulary["##p"]], [9999] * 4])
    assert criterion(ids, None).tolist() == [True, False]
    ids[0, 2] = 9999
    assert criterion(ids, None).tolist() == [False, False]


def test_the_target_of_a_pair_is_taken():
    backend, _ = word_piece()
    target = PreTrainedTokenizerFast(tokenizer_object=backend)
    other = PreTrainedTokenizerFast(tokenizer_object=byte_level()[0])
    ids = biased_rows(50, target.get_vocab(), 1)
    found = StopStringCriteria(PairTokenizer(other, target), "st")(ids, None)
    assert found.any()
    assert torch.equal(found, StopStringCriteria(target, "st")(ids, None))


def test_tables_are_made_once_and_follow_a_vocabulary_that_grows(monkeypatch):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_piece()[0])
    first = StopStringCriteria(tokenizer, "st")
    monkeypatch.setattr(type(tokenizer), "get_vocab", None)
    again = StopStringCriteria(tokenizer, ["st"])
    assert torch.equal(again._next, first._next)
    monkeypatch.undo()
    tokenizer.add_tokens(["xstx"])
    new = torch.tensor([[tokenizer.convert_tokens_to_ids("xstx")]])
    assert not first(new, None)
    assert StopStringCriteria(tokenizer, "st")(new, None)


def test_refused():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_piece()[0])
    with pytest.raises(GenerationError, match=r"none of its tokens ends one of \['日本'\]"):
        StopStringCriteria(tokenizer, "日本")
    for value in ("", [], ["a", ""]):
        with pytest.raises(GenerationError, match="`stop_strings` must be texts that are not empty"):
            StopStringCriteria(tokenizer, value)


class Spelled:
    """A tokenizer whose ids 4 to 23 are letters."""

    def __init__(self):
        tokens = ["[UNK]", "[START]", "[END]", "[PAD]", *"abcdefghijklmnopqrst"]
        self.backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
        self.backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        self.backend.decoder = decoders.Fuse()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("beams", [1, 3])
def test_generate_ends_as_the_reference(pair, sources, beams):
    model, adapted = pair
    backend = Spelled().backend
    theirs_tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
    ours_tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    how = {"max_new_tokens": 14, "num_beams": beams, "return_dict_in_generate": True, "output_scores": True}
    free = adapted.generate(**sources, **how).sequences
    ended = 0
    for row in range(3):
        text = ours_tokenizer.decode([i for i in free[row, 1:].tolist() if i > 3])
        for stops in (text[-3:-1], [text[-2:], text[1:4]], text[1:3]):
            theirs = model.generate(**sources, use_cache=False, stop_strings=stops, tokenizer=theirs_tokenizer, **how)
            ours = adapted.generate(**sources, stop_strings=stops, tokenizer=ours_tokenizer, **how)
            assert torch.equal(ours.sequences, theirs.sequences)
            if beams > 1:
                assert torch.equal(ours.sequences_scores, theirs.sequences_scores)
            ended += not torch.equal(ours.sequences, free)
    assert ended > 2


def test_generate_needs_a_tokenizer(pair, sources):
    with pytest.raises(GenerationError, match=r"`stop_strings` \('x'\) needs a `tokenizer`, but there is none"):
        pair[1].generate(**sources, max_new_tokens=3, stop_strings="x")
