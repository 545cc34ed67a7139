"""GPT-Neo (Black et al. 2021): every other layer looks back a window's length, and scores are not scaled."""

from dataclasses import replace
from typing import ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.causal import causal_family, heads_divide
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Rule, rename
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Positions, Stack


class GPTNeoConfig(PretrainedConfig):
    """GPT-Neo's configuration; the defaults are those of `gpt-neo-1.3B`."""

    model_type = "gpt_neo"
    attribute_map: ClassVar[dict[str, str]] = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}

    vocab_size: int = 50257
    max_position_embeddings: int = 2048
    hidden_size: int = 2048
    num_layers: int = 24
    attention_types: list[list[list[str] | int]] | None = None
    attention_layers: list[str] | None = None
    num_heads: int = 16
    intermediate_size: int | None = None
    window_size: int = 256
    activation_function: str = "gelu_new"
    resid_dropout: float = 0.0
    embed_dropout: float = 0.0
    attention_dropout: float = 0.0
    classifier_dropout: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    use_cache: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256

    def _check(self) -> None:
        heads_divide(self)
        if self.attention_types is None:
            self.attention_types = [[["global", "local"], 12]]
        named: list[str] = []
        for kinds, times in self.attention_types:
            named += list(kinds) * int(times)  # type: ignore[arg-type]
        self.attention_layers = named
        if len(named) != self.num_layers or set(named) - {"global", "local"}:
            raise ConfigurationError(
                f"`attention_types` must name 'global' or 'local' for each of the {self.num_layers} layers, "
                f"but names {len(named)}: {self.attention_types}."
            )


def encoder(config: GPTNeoConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others, or a window's length to either side."""
    norm = Norm("layer", config.layer_norm_epsilon)
    causal = config.is_causal is not False
    back = config.window_size - 1
    own = Attention(
        config.num_heads,
        config.num_heads,
        config.hidden_size // config.num_heads,
        output_bias=True,
        scale=1.0,
        dropout=config.attention_dropout,
    )
    local = replace(own, window=(back, 0 if causal else back))
    forward = FeedForward(config.intermediate_size or 4 * config.hidden_size, activation(config.activation_function))
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=tuple(
            Layer(local if kind == "local" else own, forward, norm, order="pre", dropout=config.resid_dropout)
            for kind in config.attention_layers or ()
        ),
        causal=causal,
        positions=Positions(config.max_position_embeddings),
        embed_dropout=config.embed_dropout,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def _rules(config: GPTNeoConfig) -> tuple[Rule, ...]:
    at, ours = "h.{i}", "layers.{i}"
    parts = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "output"))
    return (
        rename("wte", "embed"),
        rename("wpe", "positions"),
        rename(f"{at}.ln_1", f"{ours}.self_attention_norm"),
        *(rename(f"{at}.attn.attention.{their}", f"{ours}.self_attention.{our}") for their, our in parts),
        rename(f"{at}.ln_2", f"{ours}.feed_forward_norm"),
        rename(f"{at}.mlp.c_fc", f"{ours}.feed_forward.up"),
        rename(f"{at}.mlp.c_proj", f"{ours}.feed_forward.down"),
        rename("ln_f", "final_norm"),
    )


FAMILY = causal_family(
    GPTNeoConfig,
    encoder,
    _rules,
    prefix="transformer.",
    table="wte",
    dropped=(r"\.attention\.(bias|masked_bias)$",),
)
