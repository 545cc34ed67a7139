"""XLNet (Yang et al. 2019): Transformer-XL's relative positions (Dai et al. 2019), norms after the residuals."""

from dataclasses import replace
from typing import Any, ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.causal import heads_divide, only
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, by_heads, rename, tensor
from seqgraft.spec import Attention, Disentangled, Distances, FeedForward, Graft, Head, Layer, Norm, Stack, graft


class XLNetConfig(PretrainedConfig):
    """XLNet's configuration; the defaults are those of `xlnet-large-cased`.

    Raises ConfigurationError for `bi_data`, with which what a text means depends on its place in the batch, and for
    `same_length` in an `attn_type` of "uni", where without states of an earlier segment a token sees itself alone.
    """

    model_type = "xlnet"
    attribute_map: ClassVar[dict[str, str]] = {
        "n_token": "vocab_size",
        "hidden_size": "d_model",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int = 32000
    d_model: int = 1024
    n_layer: int = 24
    n_head: int = 16
    d_inner: int = 4096
    d_head: int | None = None
    ff_activation: str = "gelu"
    attn_type: str = "bi"
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1
    mem_len: int | None = 512
    reuse_len: int | None = None
    use_mems_eval: bool = True
    use_mems_train: bool = False
    bi_data: bool = False
    clamp_len: int = -1
    same_length: bool = False
    summary_type: str = "last"
    summary_use_proj: bool = True
    summary_activation: str = "tanh"
    summary_last_dropout: float = 0.1
    start_n_top: int = 5
    end_n_top: int = 5
    pad_token_id: int | None = 5
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = True

    def _knows(self, name: str) -> bool:
        return name == "untie_r" or super()._knows(name)

    def _check(self) -> None:
        heads_divide(self)
        width = self.d_model // self.n_head
        self.d_head = self.d_head or width
        if self.attn_type not in ("bi", "uni"):
            raise ConfigurationError(f"`attn_type` must be 'bi' or 'uni', but is {self.attn_type!r}.")
        only(self, d_head=width, bi_data=False)
        if self.attn_type == "uni":
            only(self, same_length=False)
        if self.__dict__.get("untie_r", True) is not True:
            raise ConfigurationError("`untie_r` must be True, since nothing else is supported, but is False.")


def encoder(config: XLNetConfig) -> Stack:
    """The body; an `attn_type` of "uni" makes it causal, unless `is_causal` is False.

    Its states alone: the second stream, which predicts tokens that it does not see, belongs to pretraining.
    """
    norm, rate = Norm("layer", config.layer_norm_eps), config.dropout
    own = Attention(
        config.n_head,
        config.n_head,
        config.d_model // config.n_head,
        disentangled=Disentangled(True, False, key_bias=False, query_biases=True, segments=True),
        dropout=rate,
    )
    forward = FeedForward(config.d_inner, activation(config.ff_activation), dropout=rate)
    return Stack(
        width=config.d_model,
        vocabulary=config.vocab_size,
        layers=(Layer(own, forward, norm, order="post", dropout=rate),) * config.n_layer,
        causal=config.attn_type == "uni" and config.is_causal is not False,
        embed_dropout=rate,
        distances=Distances(config.clamp_len if config.clamp_len > 0 else None, kind="sines", dropout=rate),
        final_dropout=rate,
        deviation=config.initializer_range,
    )


def decoder(config: XLNetConfig) -> Stack:
    """A causal language model, whatever `attn_type` says: what is published for "uni"."""
    if config.is_causal is False:
        raise ConfigurationError("`is_causal` must be True for a decoder, but is False.")
    stack = replace(encoder(config), causal=True, head=Head(config.tie_word_embeddings, bias=True))
    if not config.add_cross_attention:
        return stack
    return graft(stack, config.cross_attention_hidden_size or config.d_model, Graft.read(config.graft))


def _rules(config: XLNetConfig) -> tuple[Rule, ...]:
    at, ours = "layer.{i}", "layers.{i}"
    theirs, own, heads = f"{at}.rel_attn", f"{ours}.self_attention", config.n_head
    return (
        rename("word_embedding", "embed"),
        *(
            by_heads(f"{theirs}.{one}", f"{own}.{two}.weight", heads, turned=one != "o")
            for one, two in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "output"), ("r", "disentangled.key"))
        ),
        tensor(f"{theirs}.r_w_bias", f"{own}.disentangled.content_bias"),
        tensor(f"{theirs}.r_r_bias", f"{own}.disentangled.position_bias"),
        tensor(f"{theirs}.r_s_bias", f"{own}.disentangled.segment_bias"),
        tensor(f"{theirs}.seg_embed", f"{own}.disentangled.segments"),
        rename(f"{theirs}.layer_norm", f"{own}_norm"),
        rename(f"{at}.ff.layer_1", f"{ours}.feed_forward.up"),
        rename(f"{at}.ff.layer_2", f"{ours}.feed_forward.down"),
        rename(f"{at}.ff.layer_norm", f"{ours}.feed_forward_norm"),
    )


_HEAD = rename("lm_loss", "head.output", outside=True)
_CARRIED = (r"^mask_emb$",)
"""What the second stream starts with."""


def encoder_names(config: Any) -> Names:
    """The bare body; heads of any kind in the file are no part of it."""
    dropped = (
        r"^lm_loss\.",
        r"^(sequence_summary|logits_proj|classifier|qa_outputs)\.",
        r"^(start_logits|end_logits|answer_class)\.",
    )
    return Names(_rules(config), prefix="transformer.", dropped=dropped, carried=_CARRIED)


def decoder_names(config: Any) -> Names:
    """The language model's file."""
    ties = (("lm_loss.weight", "transformer.word_embedding.weight"),) if config.tie_word_embeddings else ()
    return Names((*_rules(config), _HEAD), prefix="transformer.", carried=_CARRIED, ties=ties)


FAMILY = Family(XLNetConfig, Half(encoder, encoder_names), Half(decoder, decoder_names), grafted=True)
