"""BERT (Devlin et al. 2019), as encoder and as decoder (Rothe et al. 2020)."""

from dataclasses import replace

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.causal import heads_divide
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename, tensor
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Positions, Stack, Transform


class BertConfig(PretrainedConfig):
    """BERT's configuration; the defaults are those of `bert-base-uncased`."""

    model_type = "bert"

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    position_embedding_type: str = "absolute"
    use_cache: bool = True
    classifier_dropout: float | None = None

    def _check(self) -> None:
        if self.position_embedding_type != "absolute":
            raise ConfigurationError(
                f"`position_embedding_type` must be 'absolute', but is {self.position_embedding_type!r}: "
                "relative positions of this kind are not supported."
            )
        heads_divide(self)


def positions(config: BertConfig) -> Positions:
    """BERT counts every token from row 0."""
    return Positions(config.max_position_embeddings)


def encoder(config: BertConfig) -> Stack:
    """The body; `is_decoder` makes it causal, `add_cross_attention` lets it see an encoder."""
    norm = Norm("layer", config.layer_norm_eps)
    heads = config.num_attention_heads
    own = Attention(
        heads,
        heads,
        config.hidden_size // heads,
        input_bias=True,
        output_bias=True,
        dropout=config.attention_probs_dropout_prob,
    )
    memory = config.cross_attention_hidden_size or config.hidden_size
    layer = Layer(
        own,
        FeedForward(config.intermediate_size, activation(config.hidden_act)),
        norm,
        order="post",
        cross_attention=replace(own, memory_width=memory) if config.add_cross_attention else None,
        dropout=config.hidden_dropout_prob,
    )
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.num_hidden_layers,
        causal=config.is_decoder,
        positions=positions(config),
        token_types=config.type_vocab_size,
        embed_norm=norm,
        embed_dropout=config.hidden_dropout_prob,
        deviation=config.initializer_range,
    )


def decoder(config: BertConfig) -> Stack:
    """The body with the masked-language-model head."""
    transform = Transform(activation(config.hidden_act), Norm("layer", config.layer_norm_eps))
    return replace(encoder(config), head=Head(config.tie_word_embeddings, bias=True, transform=transform))


def body_rules() -> tuple[Rule, ...]:
    """Names that BERT and its descendants share."""
    at, ours = "encoder.layer.{i}", "layers.{i}"
    rules = [
        rename("embeddings.word_embeddings", "embed"),
        rename("embeddings.position_embeddings", "positions"),
        rename("embeddings.token_type_embeddings", "token_types"),
        rename("embeddings.LayerNorm", "embed_norm"),
    ]
    for theirs, block in (("attention", "self_attention"), ("crossattention", "cross_attention")):
        rules += [rename(f"{at}.{theirs}.self.{part}", f"{ours}.{block}.{part}") for part in ("query", "key", "value")]
        rules += [
            rename(f"{at}.{theirs}.output.dense", f"{ours}.{block}.output"),
            rename(f"{at}.{theirs}.output.LayerNorm", f"{ours}.{block}_norm"),
        ]
    return (
        *rules,
        rename(f"{at}.intermediate.dense", f"{ours}.feed_forward.up"),
        rename(f"{at}.output.dense", f"{ours}.feed_forward.down"),
        rename(f"{at}.output.LayerNorm", f"{ours}.feed_forward_norm"),
    )


_HEAD = (
    rename("cls.predictions.transform.dense", "head.dense", outside=True),
    rename("cls.predictions.transform.LayerNorm", "head.norm", outside=True),
    tensor("cls.predictions.decoder.weight", "head.output.weight", outside=True),
)


def encoder_names(config: BertConfig) -> Names:
    """The bare body; heads of any kind in the file are no part of it."""
    return Names(
        body_rules(),
        prefix="bert.",
        dropped=(r"position_ids$", r"^cls\.", r"\.crossattention\."),
        carried=(r"^pooler\.",),
    )


def decoder_names(config: BertConfig) -> Names:
    """The body and its language-model head."""
    return Names(
        (*body_rules(), *_HEAD, output_bias(config, "cls.predictions")),
        prefix="bert.",
        dropped=(r"position_ids$", r"^cls\.seq_relationship\.", r"^pooler\."),
        carried=() if config.tie_word_embeddings else (r"^cls\.predictions\.bias$",),
        ties=output_ties(config, "cls.predictions", "bert."),
    )


def output_bias(config: BertConfig, at: str) -> Rule:
    """The published head `at` has two biases: one tensor while the tables are tied, and else the first is idle."""
    name = f"{at}.bias" if config.tie_word_embeddings else f"{at}.decoder.bias"
    return tensor(name, "head.output.bias", outside=True)


def output_ties(config: BertConfig, at: str, prefix: str) -> tuple[tuple[str, str], ...]:
    """What the head shares. An untied file of version 4 holds the idle bias alone, which stands for the other one."""
    if not config.tie_word_embeddings:
        return ((f"{at}.bias", f"{at}.decoder.bias"),)
    table = f"{prefix}embeddings.word_embeddings.weight"
    return ((f"{at}.decoder.bias", f"{at}.bias"), (f"{at}.decoder.weight", table))


FAMILY = Family(BertConfig, Half(encoder, encoder_names), Half(decoder, decoder_names), pooled=True)
