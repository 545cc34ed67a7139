"""T5Gemma (Zhang et al. 2025): a Gemma 2 that sees both ways, and one that looks at it between its blocks."""

import copy
from dataclasses import replace
from typing import Any, ClassVar, Literal

from seqgraft.families import gemma
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half, Whole
from seqgraft.families.naming import Names, Rule, rename
from seqgraft.spec import FeedForward, Head, Layer, Stack

Side = Literal["encoder", "decoder"]


class T5GemmaModuleConfig(gemma.Gemma2Config):
    """One half's configuration, inside the whole's; the defaults are Gemma 2's."""

    model_type = "t5_gemma_module"

    def to_dict(self) -> dict[str, Any]:
        """Without the one field of Gemma 2 that it lacks."""
        return {n: v for n, v in super().to_dict().items() if n != "use_bidirectional_attention" or v is not None}


class T5GemmaConfig(PretrainedConfig):
    """T5Gemma's configuration, with those of its halves inside."""

    model_type = "t5gemma"
    attribute_map: ClassVar[dict[str, str]] = {}

    encoder: T5GemmaModuleConfig | None = None
    decoder: T5GemmaModuleConfig | None = None
    is_encoder_decoder: bool = True
    dropout_rate: float = 0.0
    classifier_dropout_rate: float = 0.0
    attention_dropout: float = 0.0
    tie_word_embeddings: bool = True
    vocab_size: int = 256000
    initializer_range: float = 0.02

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        inner = self.inner("decoder")
        for name in ("bos_token_id", "pad_token_id", "eos_token_id"):
            if name not in kwargs:
                setattr(self, name, getattr(inner, name))
        if "initializer_range" not in kwargs:
            self.initializer_range = inner.initializer_range
        if self.decoder_start_token_id is None:  # which it is by design
            self.decoder_start_token_id = self.bos_token_id

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        fields = super()._modernise(fields)
        for side in ("encoder", "decoder"):
            said = fields.get(side, {} if side not in self.__dict__ else None)
            if isinstance(said, dict):
                fields[side] = T5GemmaModuleConfig(**{n: v for n, v in said.items() if n != "model_type"})
            elif side in fields:
                fields[side] = T5GemmaModuleConfig() if said is None else copy.deepcopy(said)
        return fields

    def _check(self) -> None:
        for side in ("encoder", "decoder"):
            self.inner(side)._check()
        self.inner("encoder").is_decoder, self.inner("decoder").is_decoder = False, True

    def inner(self, side: str) -> T5GemmaModuleConfig:
        """One half's configuration."""
        held: T5GemmaModuleConfig = getattr(self, side)
        return held

    def set_vocabulary(self, side: str, size: int) -> None:
        """Set the size of one half's vocabulary."""
        self.inner(side).vocab_size = self.vocab_size = size

    def to_dict(self) -> dict[str, Any]:
        """All fields, with the halves inside."""
        held = {**super().to_dict(), **{side: self.inner(side).to_dict() for side in ("encoder", "decoder")}}
        if self.decoder_start_token_id == self.bos_token_id:
            held.pop("decoder_start_token_id", None)
        return held


_GEMMA2 = next(one for one in gemma.FAMILIES if one.config is gemma.Gemma2Config).half("encoder")


def _stack(config: T5GemmaConfig, side: Side) -> Stack:
    inner = config.inner(side)
    plain, drop = _GEMMA2.spec(inner), config.dropout_rate
    memory = config.cross_attention_hidden_size or config.inner("encoder").hidden_size

    def layer(one: Layer) -> Layer:
        own = replace(one.self_attention, dropout=config.attention_dropout)
        forward = one.feed_forward
        cross = replace(own, memory_width=memory, rotary=None, window=None)
        if own.window is not None and side == "encoder":  # which sees as far to both sides
            own = replace(own, window=(own.window[0] + 1, own.window[0] + 1))
        return replace(
            one,
            self_attention=own,
            cross_attention=cross if side == "decoder" else None,
            feed_forward=replace(forward, dropout=drop) if isinstance(forward, FeedForward) else forward,
            dropout=drop,
        )

    return replace(
        plain,
        layers=tuple(layer(one) for one in plain.layers),
        causal=side == "decoder",
        scales_given=True,
        embed_dropout=drop,
        final_dropout=drop,
    )


def encoder(config: T5GemmaConfig) -> Stack:
    """The encoder half."""
    return _stack(config, "encoder")


def decoder(config: T5GemmaConfig) -> Stack:
    """The decoder half with its cross-attention and a head."""
    cap = config.inner("decoder").final_logit_softcapping
    return replace(_stack(config, "decoder"), head=Head(config.tie_word_embeddings, softcap=cap))


def _rules(side: Side) -> tuple[Rule, ...]:
    at, ours = f"{side}.layers.{{i}}", "layers.{i}"
    blocks = [("self_attn", "self_attention"), ("cross_attn", "cross_attention")][: 1 if side == "encoder" else 2]
    found = [rename(f"{side}.embed_tokens", "embed"), rename(f"{side}.norm", "final_norm")]
    for theirs, block in blocks:
        for their, our in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("o_proj", "output")):
            found.append(rename(f"{at}.{theirs}.{their}", f"{ours}.{block}.{our}"))
    for theirs, block in (*blocks, ("feedforward", "feed_forward")):
        found.append(rename(f"{at}.pre_{theirs}_layernorm", f"{ours}.{block}_norm"))
        found.append(rename(f"{at}.post_{theirs}_layernorm", f"{ours}.{block}_post_norm"))
    for our in ("gate", "up", "down"):
        found.append(rename(f"{at}.mlp.{our}_proj", f"{ours}.feed_forward.{our}"))
    return tuple(found)


def encoder_names(config: T5GemmaConfig) -> Names:
    """In the whole's own file, or alone."""
    return Names(_rules("encoder"), prefix="model.", dropped=(r"^decoder\.", r"^lm_head\.", r"inv_freq$"))


def decoder_names(config: T5GemmaConfig) -> Names:
    """In the whole's own file, or alone."""
    head = rename("lm_head.out_proj", "head.output", outside=True)
    ties = (("lm_head.out_proj.weight", "model.decoder.embed_tokens.weight"),) if config.tie_word_embeddings else ()
    return Names((*_rules("decoder"), head), prefix="model.", dropped=(r"^encoder\.", r"inv_freq$"), ties=ties)


FAMILY = Family(
    T5GemmaConfig, Half(encoder, encoder_names), Half(decoder, decoder_names), whole=Whole(table=lambda config: None)
)
