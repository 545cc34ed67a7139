"""ProphetNet, whose decoder has streams that look ahead."""

from functools import partial
from typing import Any

import torch
from transformers.models.prophetnet.modeling_prophetnet import ProphetNetAttention, ProphetNetNgramSelfAttention

from .row import LONGEST, VOCABULARY, Row

PROPHETNET = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_encoder_layers": 3,
    "num_decoder_layers": 2,
    "num_encoder_attention_heads": 4,
    "num_decoder_attention_heads": 2,
    "encoder_ffn_dim": 44,
    "decoder_ffn_dim": 52,
    "attention_dropout": 0.0,
    "num_buckets": 8,
    "relative_max_distance": 12,
    "max_position_embeddings": LONGEST + 2,
}


def straighten(model: Any, both_ways: bool = False) -> None:
    """In a pass over more than one token the reference gives its streams the biases of other places, heads and
    streams, later places among them, as one step at a time it does not: the order of the axes that it flattens is
    another than that of the indices. Its plain attention tells its scores for its attentions, and those of all streams.
    """

    def biases(module: Any, plain: Any, hidden: Any, weights: Any, places: Any, buckets: Any) -> Any:
        """hidden [rows, time, streams, width], buckets [rows, time, keys] -> [rows, streams, heads, time, keys]"""
        if buckets is None:
            return plain(hidden, weights, places, buckets)
        made = module.relative_pos_embeddings(hidden).unflatten(-1, (module.num_buckets, module.num_attn_heads))
        made = made.permute(0, 2, 4, 1, 3)
        return made.gather(-1, buckets[:, None, None].long().expand(*made.shape[:3], -1, -1))

    def mended(streams: int, module: Any, inputs: Any, out: Any) -> Any:
        states, scores = out
        if scores is None:
            return out
        return states, torch.softmax(scores, -1)[:, :, : scores.shape[2] // streams]

    for name, module in model.named_modules():
        if isinstance(module, ProphetNetAttention):
            module.register_forward_hook(partial(mended, 1 + model.config.ngram if "cross_attn" in name else 1))
        if isinstance(module, ProphetNetNgramSelfAttention):
            module.get_predict_relative_pos_embeddings = partial(
                biases, module, module.get_predict_relative_pos_embeddings
            )


def of_the_whole(tensors: dict[str, Any]) -> dict[str, Any]:
    """The encoder's tensors, known by its own names, by those of the body."""
    if any(name.startswith(("encoder.", "prophetnet.")) for name in tensors):
        return tensors
    return {name if name == "word_embeddings.weight" else f"encoder.{name}": value for name, value in tensors.items()}


ROWS_SPECIAL = tuple(
    Row(
        name,
        "prophetnet",
        {**PROPHETNET, **more},
        "ProphetNetModel",
        "ProphetNetForCausalLM",
        dropouts=("dropout", "activation_dropout"),
        positions=False,
        own_files=False,
        table="word_embeddings.weight",
        shared="word_embeddings.weight",
        shifted=False,
        mend=straighten,
        stored=of_the_whole,
    )
    for name, more in (
        ("prophetnet", {}),
        ("prophetnet-three", {"ngram": 3, "disable_ngram_loss": True, "eps": 0.2, "activation_function": "relu"}),
        ("prophetnet-smoothed", {"ngram": 2, "eps": 0.1}),
    )
)

XLNET = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "n_layer": 3,
    "n_head": 4,
    "d_inner": 44,
    "mem_len": None,
}


def uncross(model: Any, both_ways: bool = False) -> None:
    """With a mask of tokens the reference's causal body fails, since it adds it to a mask without rows in place; told
    by its other argument to see no later token, it does not.
    """
    body = getattr(model, "transformer", model)
    if body.attn_type == "bi":
        return
    plain = body.forward

    def forward(*given: Any, attention_mask: Any = None, **more: Any) -> Any:
        if attention_mask is None:
            return plain(*given, **more)
        later = torch.ones(attention_mask.shape[1], attention_mask.shape[1]).triu(1).expand(len(attention_mask), -1, -1)
        body.attn_type = "bi"
        try:
            return plain(*given, **{**more, "attention_mask": attention_mask, "perm_mask": later})
        finally:
            body.attn_type = "uni"

    body.forward = forward


ROWS_XLNET = tuple(
    Row(
        name,
        "xlnet",
        {**XLNET, **more},
        body,
        "XLNetLMHeadModel",
        {"attn_type": "uni"},
        cross=False,
        positions=False,
        shifted=False,
        mend=uncross,
        shows_padding=False,
    )
    for name, body, more in (
        ("xlnet", "XLNetModel", {}),
        ("xlnet-clamped", "XLNetModel", {"clamp_len": 3, "ff_activation": "relu", "tie_word_embeddings": False}),
        ("xlnet-uni", "", {"attn_type": "uni", "clamp_len": 5}),
    )
)
