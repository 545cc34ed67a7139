"""ProphetNet (Qi et al. 2020): a decoder of which one stream reads and others look ahead."""

from dataclasses import replace
from typing import Any, ClassVar, Literal

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half, Whole
from seqgraft.families.naming import Names, Rule, rename
from seqgraft.spec import Attention, Buckets, FeedForward, Head, Layer, Norm, Positions, Stack, Streams

Side = Literal["encoder", "decoder"]


class ProphetNetConfig(PretrainedConfig):
    """ProphetNet's configuration; the defaults are those of `prophetnet-large-uncased`."""

    model_type = "prophetnet"
    attribute_map: ClassVar[dict[str, str]] = {
        "num_attention_heads": "num_encoder_attention_heads",
        "num_hidden_layers": "num_encoder_layers",
    }

    activation_dropout: float = 0.1
    activation_function: str = "gelu"
    vocab_size: int = 30522
    hidden_size: int = 1024
    encoder_ffn_dim: int = 4096
    num_encoder_layers: int = 12
    num_encoder_attention_heads: int = 16
    decoder_ffn_dim: int = 4096
    num_decoder_layers: int = 12
    num_decoder_attention_heads: int = 16
    attention_dropout: float = 0.1
    dropout: float = 0.1
    max_position_embeddings: int = 512
    init_std: float = 0.02
    is_encoder_decoder: bool = True
    add_cross_attention: bool = True
    decoder_start_token_id: int | None = 0
    ngram: int = 2
    num_buckets: int = 32
    relative_max_distance: int = 128
    disable_ngram_loss: bool = False
    eps: float = 0.0
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2

    def _check(self) -> None:
        for side in ("encoder", "decoder"):
            heads = getattr(self, f"num_{side}_attention_heads")
            if self.hidden_size % heads:
                raise ConfigurationError(
                    f"`num_{side}_attention_heads` must divide `hidden_size` ({self.hidden_size}), but is {heads}."
                )
        if self.pad_token_id != 0:  # the reference counts positions of steps and of whole texts differently then
            raise ConfigurationError(
                f"`pad_token_id` must be 0, from which positions count, but is {self.pad_token_id}."
            )


def _stack(config: Any, side: Side) -> Stack:
    norm = Norm("layer", 1e-5)
    heads = getattr(config, f"num_{side}_attention_heads")
    own = Attention(
        heads,
        heads,
        config.hidden_size // heads,
        input_bias=True,
        output_bias=True,
        dropout=config.attention_dropout,
    )
    cross = replace(own, memory_width=config.cross_attention_hidden_size or config.hidden_size)
    streams = None
    if side == "decoder":
        streams = Streams(config.ngram, 1 if config.disable_ngram_loss else config.ngram, config.eps)
        own = replace(own, relative=Buckets(config.num_buckets, config.relative_max_distance))
    layer = Layer(
        own,
        FeedForward(
            getattr(config, f"{side}_ffn_dim"),
            activation(config.activation_function),
            dropout=config.activation_dropout,
        ),
        norm,
        order="post",
        cross_attention=cross if side == "decoder" and config.add_cross_attention else None,
        dropout=config.dropout,
    )
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(layer,) * getattr(config, f"num_{side}_layers"),
        causal=side == "decoder",
        streams=streams,
        positions=Positions(config.max_position_embeddings, 1),
        embed_norm=norm,
        embed_dropout=config.dropout,
        padding=config.pad_token_id,
        deviation=config.init_std,
    )


def encoder(config: ProphetNetConfig) -> Stack:
    """BERT's layers; positions count from 1."""
    return _stack(config, "encoder")


def decoder(config: ProphetNetConfig) -> Stack:
    """The half with the streams and a head."""
    return replace(_stack(config, "decoder"), head=Head(config.output_tied))


def _rules(side: Side) -> tuple[Rule, ...]:
    at, ours = f"{side}.layers.{{i}}", "layers.{i}"
    found = [
        rename("word_embeddings", "embed"),
        rename(f"{side}.position_embeddings", "positions"),
        rename(f"{side}.embeddings_layer_norm", "embed_norm"),
    ]
    if side == "decoder":
        found += [
            rename("decoder.ngram_embeddings", "streams"),
            rename(f"{at}.self_attn.relative_pos_embeddings", f"{ours}.self_attention.relative"),
        ]
    for theirs, block in (("self_attn", "self_attention"), ("cross_attn", "cross_attention")):
        for their, our in (("query", "query"), ("key", "key"), ("value", "value"), ("out", "output")):
            found.append(rename(f"{at}.{theirs}.{their}_proj", f"{ours}.{block}.{our}"))
        found.append(rename(f"{at}.{theirs}_layer_norm", f"{ours}.{block}_norm"))
    return (
        *found,
        rename(f"{at}.feed_forward.intermediate", f"{ours}.feed_forward.up"),
        rename(f"{at}.feed_forward.output", f"{ours}.feed_forward.down"),
        rename(f"{at}.feed_forward_layer_norm", f"{ours}.feed_forward_norm"),
    )


_TABLE = "prophetnet.word_embeddings.weight"


def encoder_names(config: ProphetNetConfig) -> Names:
    """In the whole's own file, or alone."""
    return Names(
        _rules("encoder"),
        prefix="prophetnet.",
        dropped=(r"^decoder\.", r"^lm_head\."),
        ties=(("prophetnet.encoder.word_embeddings.weight", _TABLE),),
    )


def decoder_names(config: ProphetNetConfig) -> Names:
    """In the whole's own file, or alone."""
    ties = [("prophetnet.decoder.word_embeddings.weight", _TABLE)]
    if config.output_tied:
        ties.append(("lm_head.weight", _TABLE))
    head = rename("lm_head", "head.output", outside=True)
    return Names((*_rules("decoder"), head), prefix="prophetnet.", dropped=(r"^encoder\.",), ties=tuple(ties))


FAMILY = Family(
    ProphetNetConfig,
    Half(encoder, encoder_names),
    Half(decoder, decoder_names),
    whole=Whole(table=lambda config: _TABLE),
)
