"""What BART (Lewis et al. 2020) and its descendants share: two halves of one configuration, and one file of both."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half, Whole
from seqgraft.families.naming import Names, Rule, rename
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Positions, Prefix, Stack

Side = Literal["encoder", "decoder"]


class BartLikeConfig(PretrainedConfig):
    """The fields that all of them have."""

    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
        "num_hidden_layers": "encoder_layers",
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
    scale_embedding: bool = False
    use_cache: bool = True
    is_encoder_decoder: bool = True

    def _check(self) -> None:
        check_heads(self, "encoder")
        check_heads(self, "decoder")


def check_heads(config: Any, side: Side) -> None:
    """Refuse a number of heads that does not divide the width."""
    heads = getattr(config, f"{side}_attention_heads")
    if config.d_model % heads:
        raise ConfigurationError(f"`{side}_attention_heads` must divide `d_model` ({config.d_model}), but is {heads}.")


def learned(offset: int = 0) -> Callable[[Any], Positions]:
    """A learned table, its first rows unused."""
    return lambda config: Positions(config.max_position_embeddings + offset, offset)


def sines(config: Any) -> Positions:
    """No table: the sines of Vaswani et al. 2017."""
    return Positions(config.max_position_embeddings, kind="sines")


def counted_sines(config: Any) -> Positions:
    """No table: sines of the number of tokens that are no padding (fairseq)."""
    first = config.pad_token_id + 1
    return Positions(config.max_position_embeddings + first, first, counted="real", kind="sines_tensor2tensor")


@dataclass(frozen=True)
class Design:
    """In what the families differ."""

    order: Literal["pre", "post"]
    positions: Callable[[Any], Positions]
    embed_norm: bool = True
    final_norm: str | None = None
    """The file's name of the norm after the last layer, where there is one."""
    decoder_norm_first: bool = False
    """Whether the decoder's embedding norm comes before its positions are added."""
    logits_bias: bool = True
    """Whether the whole model adds a bias to its logits, which training leaves alone."""
    encoder_inner_dropout: bool = True
    """Whether `activation_dropout` reaches the encoder."""
    attention_bias: Callable[[Any], bool] = lambda config: True
    encoder_projections: tuple[str, str, str, str] = ("q_proj", "k_proj", "v_proj", "out_proj")
    """The file's names of the encoder's query, key, value and output projections."""
    stored_sines: bool = False
    """Whether files hold the table of sines, which is computed here."""
    wraps: bool = False
    """See `Whole`."""
    head: str = "lm_head"
    vocabulary: Callable[[Any, Side], int] = lambda config, side: int(config.vocab_size)
    one_table: Callable[[Any], bool] = lambda config: bool(config.tie_word_embeddings)
    """Whether both halves of the whole read one table of embeddings."""
    prefix: Callable[[Any, Side], Prefix | None] = lambda config, side: None
    """Prompts: keys and values before those of a half's blocks."""


def stack(config: Any, side: Side, design: Design) -> Stack:
    """One half's body; the decoder's cross-attention is there always, as in every published file."""
    norm = Norm("layer", 1e-5)
    heads, bias = getattr(config, f"{side}_attention_heads"), design.attention_bias(config)
    own = Attention(
        heads,
        heads,
        config.d_model // heads,
        input_bias=bias,
        output_bias=bias,
        dropout=config.attention_dropout,
    )
    memory = config.cross_attention_hidden_size or config.d_model
    layer = Layer(
        own,
        FeedForward(
            getattr(config, f"{side}_ffn_dim"),
            activation(config.activation_function),
            dropout=config.activation_dropout if side == "decoder" or design.encoder_inner_dropout else 0.0,
        ),
        norm,
        order=design.order,
        cross_attention=replace(own, memory_width=memory) if side == "decoder" else None,
        dropout=config.dropout,
    )
    return Stack(
        width=config.d_model,
        vocabulary=design.vocabulary(config, side),
        layers=(layer,) * getattr(config, f"{side}_layers"),
        causal=side == "decoder",
        embed_scale=config.d_model**0.5 if config.scale_embedding else 1.0,
        positions=design.positions(config),
        embed_norm=norm if design.embed_norm else None,
        embed_norm_first=design.decoder_norm_first and side == "decoder",
        embed_dropout=config.dropout,
        padding=config.pad_token_id,
        layer_drop=getattr(config, f"{side}_layerdrop"),
        final_norm=norm if design.final_norm else None,
        prefix=design.prefix(config, side),
        deviation=config.init_std,
    )


def rules(side: Side, design: Design) -> tuple[Rule, ...]:
    """The body's tensors."""
    at, ours = f"{side}.layers.{{i}}", "layers.{i}"
    found = [
        rename(f"{side}.embed_tokens", "embed"),
        rename(f"{side}.embed_positions", "positions"),
        rename(f"{side}.{design.final_norm}", "final_norm") if design.final_norm else None,
        rename(f"{side}.layernorm_embedding", "embed_norm") if design.embed_norm else None,
    ]
    for theirs, block in (("self_attn", "self_attention"), ("encoder_attn", "cross_attention")):
        names = design.encoder_projections if side == "encoder" else ("q_proj", "k_proj", "v_proj", "out_proj")
        for their, our in zip(names, ("query", "key", "value", "output"), strict=True):
            found.append(rename(f"{at}.{theirs}.{their}", f"{ours}.{block}.{our}"))
        found.append(rename(f"{at}.{theirs}_layer_norm", f"{ours}.{block}_norm"))
    for theirs, block in (("self_attn", "self_attention"), ("cross_attn", "cross_attention")):
        for their, our in (("embedding", "embed"), ("trans.0", "up"), ("trans.2", "down")):
            found.append(rename(f"{side}.{theirs}_prompt.prompt_{their}", f"prefixes.{block}.{our}"))
    return (
        *(rule for rule in found if rule),
        rename(f"{at}.fc1", f"{ours}.feed_forward.up"),
        rename(f"{at}.fc2", f"{ours}.feed_forward.down"),
        rename(f"{at}.final_layer_norm", f"{ours}.feed_forward_norm"),
    )


_OTHER = (
    r"^shared\.weight$",
    r"^classification_head\.",
    r"^qa_outputs\.",
    r"^(en|de)coder\.version$",
    r"\.embed_positions\.(weight|weights|_float_tensor)$",
)


def halves(design: Design) -> tuple[Half, Half]:
    """Both halves of a design."""

    def encoder(config: Any) -> Stack:
        return stack(config, "encoder", design)

    def decoder(config: Any) -> Stack:
        bias = design.logits_bias and config.whole is not None
        return replace(stack(config, "decoder", design), head=Head(config.output_tied, bias=bias))

    def _shared(config: Any, owner: str) -> tuple[tuple[str, str], ...]:
        return (("model.shared.weight", owner),) if design.one_table(config) else ()

    def _spare(config: Any) -> tuple[Rule, ...]:
        """Where each half has its own table, an older file may still hold one for both, and a newer one an idle one."""
        return () if design.one_table(config) else (rename("shared", "embed"),)

    def encoder_names(config: Any) -> Names:
        """In the whole's own file, or alone; `shared` is its table too."""
        return Names(
            (*rules("encoder", design), *_spare(config)),
            prefix="model.",
            dropped=(r"^decoder\.", rf"^{design.head}\.", r"^final_logits_bias$", *_OTHER),
            carried=(r"^encoder\.embed_positions\.weight$",) if design.stored_sines else (),
            ties=_shared(config, "model.encoder.embed_tokens.weight"),
        )

    def decoder_names(config: Any) -> Names:
        """In the whole's own file, or alone, where the published class has no place for `final_logits_bias`."""
        owner = "model.decoder.embed_tokens.weight"
        tied = ((f"{design.head}.weight", owner),) if config.output_tied else ()
        bias = Rule("final_logits_bias", ("head.output.bias",), exact=True, outside=True, experts=1)  # one row
        return Names(
            (*rules("decoder", design), *_spare(config), bias, rename(design.head, "head.output", outside=True)),
            prefix="model.",
            dropped=(r"^encoder\.", r"^final_logits_bias$", *_OTHER),
            carried=(r"^decoder\.embed_positions\.weight$",) if design.stored_sines else (),
            ties=(*_shared(config, owner), *tied),
        )

    return Half(encoder, encoder_names), Half(decoder, decoder_names)


def bart_like(config: type[BartLikeConfig], design: Design) -> Family:
    """The family of a configuration class and a design."""
    encoder, decoder = halves(design)
    whole = Whole(
        table=lambda config: "model.shared.weight" if design.one_table(config) else None,
        copies=("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"),
        fixed=("head.output.bias",) if design.logits_bias else (),
        wraps=design.wraps,
    )
    return Family(config, encoder, decoder, whole=whole)
