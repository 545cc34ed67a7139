"""Tiny pairs of three kinds of tokenizer: BERT's frame, GPT-2's none, BART's other start."""

from types import SimpleNamespace

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel

import seqgraft

WORDS = [
    *("the", "cat", "dog", "sat", "ran", "on", "mat", "a"),
    *("red", "blue", "tree", "house", "small", "big", "sings", "sees"),
]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
GPT2_SIZES = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
BART_SIZES = {
    **{f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in
       {"layers": 2, "attention_heads": 2, "ffn_dim": 64}.items()},
    "d_model": 32, "max_position_embeddings": 64,
}  # fmt: skip


def bert_tokenizer():
    vocab = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    return seqgraft.BertTokenizer(vocab=vocab)


def gpt2_tokenizer():
    letters = sorted(ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*letters, "<|endoftext|>"])}
    return seqgraft.GPT2Tokenizer(vocab=vocab, merges=[])


def bart_tokenizer():
    letters = sorted(ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *letters, "<mask>"])}
    return seqgraft.BartTokenizer(vocab=vocab, merges=[])


def half(kind, size):
    if kind == "bert":
        return seqgraft.BertConfig(vocab_size=size, max_position_embeddings=64, **SIZES)
    if kind == "gpt2":
        return seqgraft.GPT2Config(vocab_size=size, bos_token_id=size - 1, eos_token_id=size - 1, **GPT2_SIZES)
    return seqgraft.BartConfig(vocab_size=size, **BART_SIZES)


TOKENIZERS = {"bert": bert_tokenizer, "gpt2": gpt2_tokenizer, "bart": bart_tokenizer}


def tiny(encoder="bert", decoder="bert"):
    """(model, tokenizer) of a tiny random pair."""
    torch.manual_seed(0)
    source, target = TOKENIZERS[encoder](), TOKENIZERS[decoder]()
    config = seqgraft.EncoderDecoderConfig(half(encoder, len(source)), half(decoder, len(target)))
    tokenizer = source if encoder == decoder else seqgraft.PairTokenizer(source, target)
    return SimpleNamespace(model=seqgraft.EncoderDecoderModel(config=config), tokenizer=tokenizer)


PAIRS = [
    ("the cat sat on the mat", "cat sat"),
    ("a dog ran", "the dog ran"),
    ("the red house on the tree sees a small cat", "a big house"),
    ("a blue tree sings", "tree sings"),
    ("the big dog sees a red cat on the blue mat", "dog sees the red cat"),
    ("the small house", "house"),
]


@pytest.fixture
def pairs():
    return list(PAIRS)


@pytest.fixture
def make():
    return tiny
