"""What Llama and its kin have in common: fields, windows, and names of tensors."""

from collections.abc import Callable
from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.families.causal import causal_family, tied_as_said
from seqgraft.families.family import Family
from seqgraft.families.naming import Rule, rename
from seqgraft.families.rope import RotaryConfig
from seqgraft.spec import Head, Stack

Window = tuple[int, int] | None

LAYER = "layers.{i}"
OWN, FORWARD = f"{LAYER}.self_attention", f"{LAYER}.feed_forward"


class DecoderOnlyConfig(RotaryConfig):
    """The fields that all of them have; each family publishes them with defaults of its own."""

    vocab_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_key_value_heads: int | None
    initializer_range: float
    attention_dropout: float

    def _check(self) -> None:
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigurationError(
                f"`num_key_value_heads` must divide `num_attention_heads` ({self.num_attention_heads}), "
                f"but is {self.num_key_value_heads}."
            )
        super()._check()

    def _check_layer_types(self, types: list[str]) -> None:
        wrong = set(types) - {"full_attention", "sliding_attention"}
        if wrong or len(types) != self.num_hidden_layers:
            raise ConfigurationError(
                f"`layer_types` must name 'full_attention' or 'sliding_attention' for each of the "
                f"{self.num_hidden_layers} layers, but is {types}."
            )


def window(config: DecoderOnlyConfig, size: int | None) -> Window:
    """A window of n positions includes the query's own; seen both ways it reaches n positions to either side."""
    if size is None:
        return None
    return (size - 1, 0) if config.is_causal is not False else (size, size)


def windows(config: DecoderOnlyConfig, types: list[str], size: int | None) -> list[Window]:
    """What each layer's self-attention sees."""
    return [window(config, size) if kind == "sliding_attention" else None for kind in types]


def projections(*pairs: tuple[str, str], at: str = f"{LAYER}.self_attn") -> tuple[Rule, ...]:
    """The four maps of self-attention under their usual names, and `pairs` of further ones."""
    usual = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("o_proj", "output"))
    return tuple(rename(f"{at}.{theirs}", f"{OWN}.{ours}") for theirs, ours in (*usual, *pairs))


HEAD_NORMS = (("q_norm", "query_norm"), ("k_norm", "key_norm"))
NORMS = (
    rename(f"{LAYER}.input_layernorm", f"{OWN}_norm"),
    rename(f"{LAYER}.post_attention_layernorm", f"{FORWARD}_norm"),
)
GATED = (
    rename(f"{LAYER}.mlp.gate_proj", f"{FORWARD}.gate"),
    rename(f"{LAYER}.mlp.up_proj", f"{FORWARD}.up"),
    rename(f"{LAYER}.mlp.down_proj", f"{FORWARD}.down"),
)
ENDS = (rename("embed_tokens", "embed"), rename("norm", "final_norm"))


def decoder_only(
    config: type[DecoderOnlyConfig],
    encoder: Callable[[Any], Stack],
    rules: tuple[Rule, ...] | Callable[[Any], tuple[Rule, ...]],
    head: Callable[[Any], Head] = tied_as_said,
) -> Family:
    """The family of a body under `model` and a head under `lm_head`; its names may depend on the configuration."""
    return causal_family(
        config,
        encoder,
        rules if callable(rules) else lambda _: rules,
        prefix="model.",
        table="embed_tokens",
        head=head,
        dropped=(r"rotary_emb\.inv_freq$",),
    )
