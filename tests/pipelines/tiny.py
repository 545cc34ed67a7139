"""Tiny pairs with tiny tokenizers, as folders."""

import json
from pathlib import Path
from typing import Any

import torch

import seqgraft

WORDS = "the a plant makes energy from light and water ; model reads text writes words one after another ."
LONGEST = 24
"""Positions of the tiny encoders."""
TEXTS = [
    "The plant makes energy from light.",
    "a model",
    "the model reads one text after another and writes words; the plant makes energy.",
    "water and light",
    "another text.",
]


def bert_files(folder: Path) -> Path:
    """A WordPiece vocabulary of a few words and all letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS.split())]
    vocabulary += [c for c in letters if c not in vocabulary] + [f"##{c}" for c in letters]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}), encoding="utf-8")
    return folder


def gpt2_files(folder: Path) -> Path:
    """The 256 bytes, no merges, and the end of text."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [*sorted(ByteLevel.alphabet()), "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}), encoding="utf-8")
    return folder


def bert_config(size: int, **fields: Any) -> Any:
    """Two layers of width 16."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return seqgraft.BertConfig(vocab_size=size, max_position_embeddings=LONGEST, **sizes, **fields)


def gpt2_config(size: int, width: int = 12) -> Any:
    """Two layers of another width."""
    ids = {"bos_token_id": size - 1, "eos_token_id": size - 1}
    return seqgraft.GPT2Config(vocab_size=size, n_embd=width, n_layer=2, n_head=2, n_positions=64, **ids)


def spread(model: Any, seed: int = 0) -> Any:
    """Large random weights, so that different sources give different outputs."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.8 if "cross_attention" in name or "embed" in name else 0.3)
    return model


def bert_pair(folder: Path, **fields: Any) -> Path:
    """BERT to BERT with one vocabulary; `fields` go into the pair's configuration."""
    tokenizer = seqgraft.BertTokenizer.from_pretrained(bert_files(folder))
    config = bert_config(len(tokenizer))
    ids = {"decoder_start_token_id": 2, "pad_token_id": 0, "eos_token_id": 3}
    pair = seqgraft.EncoderDecoderConfig(encoder=config, decoder=config, **{**ids, **fields})
    spread(seqgraft.EncoderDecoderModel(config=pair)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def two_pair(folder: Path) -> Path:
    """BERT to GPT-2 with a tokenizer for each."""
    source = seqgraft.BertTokenizer.from_pretrained(bert_files(folder / "s"))
    target = seqgraft.GPT2Tokenizer.from_pretrained(gpt2_files(folder / "t"))
    size = len(target)
    pair = seqgraft.EncoderDecoderConfig(
        encoder=bert_config(len(source)),
        decoder=gpt2_config(size),
        decoder_start_token_id=size - 1,
        pad_token_id=size - 1,
        eos_token_id=size - 1,
    )
    out = folder / "pair"
    spread(seqgraft.EncoderDecoderModel(config=pair), seed=1).save_pretrained(out)
    seqgraft.PairTokenizer(source, target).save_pretrained(out)
    return out


def plain_bert(folder: Path) -> Path:
    """A masked language model of the family alone, with its tokenizer."""
    tokenizer = seqgraft.BertTokenizer.from_pretrained(bert_files(folder))
    spread(seqgraft.BertLMHeadModel(bert_config(len(tokenizer)))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def plain_gpt2(folder: Path, width: int = 12) -> Path:
    """A causal language model of the family alone, with its tokenizer."""
    tokenizer = seqgraft.GPT2Tokenizer.from_pretrained(gpt2_files(folder))
    spread(seqgraft.GPT2LMHeadModel(gpt2_config(len(tokenizer), width))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
