"""Tiny pairs: the reference's where it has a class for them, and the parts of those that it has none for."""

from typing import Any

import torch
import transformers

from ..families.rows import BY_NAME, Row, batch, encoder_of, pad_of, reference_model

DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {}),
    "gpt2": ("gpt2", {"n_embd": 24}),
    "bart": ("bart", {"decoder_layers": 2}),
    "roberta": ("roberta", {"hidden_size": 24}),
    "xglm": ("xglm", {"num_layers": 2}),
}
"""Test name -> row and changes: three as wide as the encoders, two of another width."""
ALIKE = (
    "ernie",
    "bert-generation",
    "roc_bert",
    "electra",
    "rembert",
    "roformer",
    "data2vec-text",
    "xmod",
    "roberta-prelayernorm",
    "xlm-roberta-xl",
)
"""Rows that the reference pairs with themselves."""
REFERENCE_ENCODERS = ("bert", "roberta", "xlm-roberta", "camembert", "gpt2")
"""Encoders for which the reference's pair works."""
START, END = 3, 2
PAD = 1
"""The padding id of every decoder. Were it 0, the reference's beam search would fill with the end token."""


def reference_halves(encoder: str, decoder: str, seed: int = 0) -> tuple[Any, Any]:
    """The reference's encoder, seen both ways only where that is published, and its decoder with cross-attention."""
    row, (other, changes) = BY_NAME[encoder], DECODERS.get(decoder, (decoder, {}))
    return (
        reference_model(row, "encoder", seed=seed),
        reference_model(BY_NAME[other], "decoder", seed=seed + 1, cross=True, **changes),
    )


def reference_pair(encoder: str, decoder: str, seed: int = 0) -> Any:
    """The reference's pair with its special ids set."""
    own, other = reference_halves(encoder, decoder, seed)
    pair = transformers.EncoderDecoderModel(encoder=own, decoder=other)
    pair.set_attn_implementation("eager")
    if hasattr(pair, "enc_to_dec_proj"):
        generator = torch.Generator().manual_seed(seed + 2)
        with torch.no_grad():
            for parameter in pair.enc_to_dec_proj.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    ids = {"decoder_start_token_id": START, "pad_token_id": PAD, "eos_token_id": END}
    for name, value in ids.items():
        setattr(pair.config, name, value)
        setattr(pair.generation_config, name, value)
    pair.generation_config.bos_token_id = pair.config.bos_token_id = None
    return pair.eval()


def source(encoder: str, padding: str = "right") -> dict[str, torch.Tensor]:
    return dict(batch(padding, time=7, pad=pad_of(BY_NAME[encoder]), seed=11))


def target(decoder: str, padding: str = "right") -> dict[str, torch.Tensor]:
    """Decoder inputs and their mask."""
    held = batch(padding, time=6, pad=PAD, seed=12)
    return {f"decoder_{name}": value for name, value in held.items()}


def labels(padding: str = "right") -> torch.Tensor:
    held = batch(padding, time=6, seed=13)
    return held["input_ids"].masked_fill(held["attention_mask"] == 0, -100)


def states_of(body: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """What a reference's body, or its encoder half, makes of a source."""
    states: torch.Tensor = encoder_of(body)(**inputs).last_hidden_state
    return states


def row_of(decoder: str) -> Row:
    return BY_NAME[DECODERS[decoder][0]]
