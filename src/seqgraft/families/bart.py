"""BART (Lewis et al. 2020): either half of a published encoder-decoder, on its own."""

from dataclasses import replace
from typing import ClassVar, Literal

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Positions, Stack


class BartConfig(PretrainedConfig):
    """BART's configuration; the defaults are those of `bart-large`."""

    model_type = "bart"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
        "num_hidden_layers": "encoder_layers",
        "initializer_range": "init_std",
    }

    vocab_size: int = 50265
    max_position_embeddings: int = 1024
    encoder_layers: int = 12
    encoder_ffn_dim: int = 4096
    encoder_attention_heads: int = 16
    decoder_layers: int = 12
    decoder_ffn_dim: int = 4096
    decoder_attention_heads: int = 16
    encoder_layerdrop: float = 0.0
    decoder_layerdrop: float = 0.0
    activation_function: str = "gelu"
    d_model: int = 1024
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    init_std: float = 0.02
    classifier_dropout: float = 0.0
    scale_embedding: bool = False
    use_cache: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 2
    is_encoder_decoder: bool = True
    forced_eos_token_id: int | None = 2

    def _check(self) -> None:
        for side in ("encoder", "decoder"):
            heads, drop = getattr(self, f"{side}_attention_heads"), getattr(self, f"{side}_layerdrop")
            if self.d_model % heads:
                raise ConfigurationError(
                    f"`{side}_attention_heads` must divide `d_model` ({self.d_model}), but is {heads}."
                )
            if drop:
                raise ConfigurationError(f"`{side}_layerdrop` must be 0, since it is not supported, but is {drop}.")


def _stack(config: BartConfig, side: Literal["encoder", "decoder"]) -> Stack:
    norm = Norm("layer", 1e-5)
    heads = getattr(config, f"{side}_attention_heads")
    own = Attention(
        heads,
        heads,
        config.d_model // heads,
        input_bias=True,
        output_bias=True,
        dropout=config.attention_dropout,
    )
    width = getattr(config, f"{side}_ffn_dim")
    memory = config.cross_attention_hidden_size or config.d_model
    layer = Layer(
        own,
        FeedForward(width, activation(config.activation_function), dropout=config.activation_dropout),
        norm,
        order="post",
        cross_attention=replace(own, memory_width=memory) if side == "decoder" else None,
        dropout=config.dropout,
    )
    return Stack(
        width=config.d_model,
        vocabulary=config.vocab_size,
        layers=(layer,) * getattr(config, f"{side}_layers"),
        causal=side == "decoder",
        embed_scale=config.d_model**0.5 if config.scale_embedding else 1.0,
        positions=Positions(config.max_position_embeddings + 2, 2),
        embed_norm=norm,
        embed_dropout=config.dropout,
        deviation=config.init_std,
    )


def encoder(config: BartConfig) -> Stack:
    """The encoder half."""
    return _stack(config, "encoder")


def decoder(config: BartConfig) -> Stack:
    """The decoder half with a head; its cross-attention is there always, as in every published file."""
    return replace(_stack(config, "decoder"), head=Head(config.tie_word_embeddings))


def _rules(side: Literal["encoder", "decoder"]) -> tuple[Rule, ...]:
    at, ours = f"{side}.layers.{{i}}", "layers.{i}"
    rules = [
        rename(f"{side}.embed_tokens", "embed"),
        rename(f"{side}.embed_positions", "positions"),
        rename(f"{side}.layernorm_embedding", "embed_norm"),
    ]
    for theirs, block in (("self_attn", "self_attention"), ("encoder_attn", "cross_attention")):
        projections = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "output"))
        rules += [rename(f"{at}.{theirs}.{their}", f"{ours}.{block}.{our}") for their, our in projections]
        rules.append(rename(f"{at}.{theirs}_layer_norm", f"{ours}.{block}_norm"))
    return (
        *rules,
        rename(f"{at}.fc1", f"{ours}.feed_forward.up"),
        rename(f"{at}.fc2", f"{ours}.feed_forward.down"),
        rename(f"{at}.final_layer_norm", f"{ours}.feed_forward_norm"),
    )


def encoder_names(config: BartConfig) -> Names:
    """The encoder's tensors in BART's own file, or alone; `shared` is its table too."""
    return Names(
        _rules("encoder"),
        prefix="model.",
        dropped=(r"^decoder\.", r"^lm_head\.", r"^final_logits_bias$", r"^classification_head\."),
        ties=(("model.shared.weight", "model.encoder.embed_tokens.weight"),),
    )


def decoder_names(config: BartConfig) -> Names:
    """The decoder's tensors in BART's own file, or alone.

    The published class of a lone decoder has no place for `final_logits_bias`, a buffer of zeros.
    """
    owner = "model.decoder.embed_tokens.weight"
    ties = [("model.shared.weight", owner)]
    if config.tie_word_embeddings:
        ties.append(("lm_head.weight", owner))
    return Names(
        (*_rules("decoder"), rename("lm_head", "head.output", outside=True)),
        prefix="model.",
        dropped=(r"^encoder\.", r"^final_logits_bias$", r"^classification_head\."),
        ties=tuple(ties),
    )


FAMILY = Family(BartConfig, Half(encoder, encoder_names), Half(decoder, decoder_names))
