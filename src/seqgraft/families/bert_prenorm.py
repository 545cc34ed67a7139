"""BERT and RoBERTa with the norms before the blocks and one at the end: Megatron, fairseq's option, XLM-RoBERTa-XL."""

from dataclasses import replace

from seqgraft.families import bert, roberta
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename
from seqgraft.spec import Norm, Stack


class MegatronBertConfig(bert.BertConfig):
    """Megatron-BERT's configuration (Shoeybi et al. 2019)."""

    model_type = "megatron-bert"

    vocab_size: int = 29056
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096


class RobertaPreLayerNormConfig(roberta.RobertaConfig):
    """The configuration of fairseq's RoBERTa with `--encoder-normalize-before` (Ott et al. 2019)."""

    model_type = "roberta-prelayernorm"


class XLMRobertaXLConfig(roberta.RobertaConfig):
    """XLM-RoBERTa-XL's configuration (Goyal et al. 2021)."""

    model_type = "xlm-roberta-xl"

    vocab_size: int = 250880
    hidden_size: int = 2560
    num_hidden_layers: int = 36
    num_attention_heads: int = 32
    intermediate_size: int = 10240
    max_position_embeddings: int = 514
    type_vocab_size: int = 1
    layer_norm_eps: float = 1e-5


def _moved(stack: Stack, config: bert.BertConfig, *, embed_norm: bool) -> Stack:
    return replace(
        stack,
        layers=tuple(replace(layer, order="pre") for layer in stack.layers),
        embed_norm=stack.embed_norm if embed_norm else None,
        final_norm=Norm("layer", config.layer_norm_eps),
    )


def megatron_encoder(config: MegatronBertConfig) -> Stack:
    """BERT's body with its norms moved, and none over the embeddings."""
    return _moved(bert.encoder(config), config, embed_norm=False)


def megatron_decoder(config: MegatronBertConfig) -> Stack:
    """The body with BERT's head."""
    return _moved(bert.decoder(config), config, embed_norm=False)


def encoder(config: roberta.RobertaConfig) -> Stack:
    """RoBERTa's body with its norms moved.

    XLM-RoBERTa-XL has none over the embeddings, and no dropout after the feed-forward.
    """
    fairseq = isinstance(config, RobertaPreLayerNormConfig)
    stack = _moved(roberta.encoder(config), config, embed_norm=fairseq)
    if fairseq:
        return stack
    return replace(stack, layers=tuple(replace(layer, feed_forward_dropout=0.0) for layer in stack.layers))


def decoder(config: roberta.RobertaConfig) -> Stack:
    """The body with RoBERTa's head."""
    return replace(encoder(config), head=roberta.decoder(config).head)


_NORMS = {
    "megatron-bert": ("ln", "ln", "encoder.ln"),
    "roberta-prelayernorm": ("LayerNorm", "intermediate.LayerNorm", "LayerNorm"),
    "xlm-roberta-xl": ("self_attn_layer_norm", "LayerNorm", "encoder.LayerNorm"),
}
"""The norm of an attention block, that of the feed-forward, and the last one."""


def _rules(config: bert.BertConfig) -> tuple[Rule, ...]:
    block, forward, last = _NORMS[config.model_type]
    at, ours = "encoder.layer.{i}", "layers.{i}"
    return (
        rename(f"{at}.attention.{block}", f"{ours}.self_attention_norm"),
        rename(f"{at}.crossattention.{block}", f"{ours}.cross_attention_norm"),
        rename(f"{at}.{forward}", f"{ours}.feed_forward_norm"),
        rename(last, "final_norm"),
    )


_PREFIX = {"megatron-bert": "bert.", "roberta-prelayernorm": "roberta_prelayernorm.", "xlm-roberta-xl": "roberta."}


def _renamed(names: Names, config: bert.BertConfig) -> Names:
    kept = tuple(rule for rule in names.rules if not rule.ours[0].startswith("layers.") or "norm" not in rule.ours[0])
    return replace(names, rules=(*_rules(config), *kept), prefix=_PREFIX[config.model_type])


def encoder_names(config: bert.BertConfig) -> Names:
    """BERT's or RoBERTa's, with the norms under names of their own."""
    parent = bert if config.model_type == "megatron-bert" else roberta
    return _renamed(parent.encoder_names(config), config)


def decoder_names(config: bert.BertConfig) -> Names:
    """BERT's or RoBERTa's, with the norms under names of their own."""
    prefix = _PREFIX[config.model_type]
    if config.model_type == "megatron-bert":
        return _renamed(bert.decoder_names(config), config)
    names = _renamed(roberta.decoder_names(config), config)  # type: ignore[arg-type]
    return replace(names, ties=bert.output_ties(config, "lm_head", prefix))


_NAMES = encoder_names, decoder_names

FAMILIES = (
    Family(MegatronBertConfig, Half(megatron_encoder, _NAMES[0]), Half(megatron_decoder, _NAMES[1]), pooled=True),
    *(
        Family(config, Half(encoder, _NAMES[0]), Half(decoder, _NAMES[1]), pooled=True)
        for config in (RobertaPreLayerNormConfig, XLMRobertaXLConfig)
    ),
)
