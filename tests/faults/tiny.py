"""Tiny models of every kind that a fault needs, from both libraries, with weights large enough to tell."""

from pathlib import Path
from typing import Any

import torch
import transformers

import seqgraft

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()

VOCAB = 40
PAD, START, END = 0, 5, 6
WIDTH = 16

_BERT = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
}
SIZES: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "roberta": {**_BERT, "type_vocab_size": 1},
    "gpt2": {
        "vocab_size": VOCAB,
        "n_embd": WIDTH,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 40,
        "initializer_range": 0.3,
        "bos_token_id": START,
        "eos_token_id": END,
    },
    "bart": {
        "vocab_size": VOCAB,
        "d_model": WIDTH,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 40,
        "init_std": 0.3,
    },
    "llama": {
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.3,
    },
}
_NAMES = {"bert": "Bert", "roberta": "Roberta", "gpt2": "GPT2", "bart": "Bart", "llama": "Llama"}
_CAUSAL = {
    "bert": "BertLMHeadModel",
    "roberta": "RobertaForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "bart": "BartForCausalLM",
    "llama": "LlamaForCausalLM",
}


def config(kind: str, library: Any = seqgraft, **changes: Any) -> Any:
    """A tiny configuration of one family."""
    return getattr(library, f"{_NAMES[kind]}Config")(**{**SIZES[kind], **changes})


def pair_config(encoder: str = "bert", decoder: str = "bert", library: Any = seqgraft, **changes: Any) -> Any:
    """The configuration of a pair; `changes` with a half's prefix are that half's."""
    own = {n.removeprefix("encoder__"): v for n, v in changes.items() if n.startswith("encoder__")}
    other = {n.removeprefix("decoder__"): v for n, v in changes.items() if n.startswith("decoder__")}
    rest = {n: v for n, v in changes.items() if "__" not in n}
    halves = config(encoder, library, **own), config(decoder, library, **other)
    return library.EncoderDecoderConfig.from_encoder_decoder_configs(*halves, **rest)


def pair(encoder: str = "bert", decoder: str = "bert", **changes: Any) -> Any:
    """A pair of ours with random weights and its special ids."""
    ids = {"decoder_start_token_id": START, "pad_token_id": PAD, "eos_token_id": END}
    return seqgraft.EncoderDecoderModel(config=pair_config(encoder, decoder, **{**ids, **changes}))


def causal_class(kind: str, library: Any = seqgraft) -> Any:
    """The published class with a language-model head."""
    return getattr(library, _CAUSAL[kind])


def write_reference(kind: str, folder: Path, **changes: Any) -> str:
    """A checkpoint of the published class, as the reference writes it."""
    torch.manual_seed(len(kind))
    classes = {"bart": "BartForConditionalGeneration", "bert": "BertForMaskedLM", "roberta": "RobertaForMaskedLM"}
    name = classes.get(kind, _CAUSAL[kind])
    getattr(transformers, name)(config(kind, transformers, **changes)).save_pretrained(folder)
    return str(folder)


def source(rows: int = 2, time: int = 6, low: int = 7) -> torch.Tensor:
    """Ids [rows, time] without any special one."""
    return torch.randint(low, VOCAB, (rows, time), generator=torch.Generator().manual_seed(3))


def target(rows: int = 2, time: int = 5) -> torch.Tensor:
    """Labels [rows, time] without any special one."""
    return torch.randint(7, VOCAB, (rows, time), generator=torch.Generator().manual_seed(4))


def open_gates(model: Any) -> Any:
    """A graft begins shut; training opens it."""
    for name, parameter in model.named_parameters():
        if name.endswith(".gate"):
            parameter.data.fill_(0.7)
    return model


def source_matters(model: Any) -> bool:
    """Whether another source gives other logits."""
    open_gates(model)
    ids, labels = source(), target()
    with torch.no_grad():
        one, two = (model(input_ids=i, labels=labels).logits for i in (ids, ids.flip(1)))
    return bool((one - two).abs().max() > 1e-4)


def future_leaks(model: Any, **inputs: Any) -> bool:
    """Whether the logits of a position change with the tokens after it."""
    ids, start = source(), target()
    other = start.clone()
    other[:, 3:] = (other[:, 3:] - 7 + 5) % (VOCAB - 7) + 7
    with torch.no_grad():
        one, two = (model(input_ids=ids, decoder_input_ids=i, **inputs).logits for i in (start, other))
    return bool((one[:, :3] - two[:, :3]).abs().max() > 1e-5)
