"""GPT (Radford et al. 2018): GPT-2 with the norms after the residuals, and none at the end."""

from typing import ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.causal import causal_family, heads_divide
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Rule, rename, stacked, turned
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Positions, Stack

_ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu"}
"""What the family's own names mean: its `gelu` is the approximation."""


class OpenAIGPTConfig(PretrainedConfig):
    """GPT's configuration; the defaults are those of `openai-gpt`."""

    model_type = "openai-gpt"
    attribute_map: ClassVar[dict[str, str]] = {
        "max_position_embeddings": "n_positions",
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int = 40478
    n_positions: int = 512
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    afn: str = "gelu"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02

    def _check(self) -> None:
        heads_divide(self)


def encoder(config: OpenAIGPTConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others."""
    if config.afn not in _ACTIVATIONS:
        raise ConfigurationError(f"The activation must be one of {', '.join(_ACTIVATIONS)}, but is {config.afn!r}.")
    norm = Norm("layer", config.layer_norm_epsilon)
    own = Attention(
        config.n_head,
        config.n_head,
        config.n_embd // config.n_head,
        input_bias=True,
        output_bias=True,
        dropout=config.attn_pdrop,
    )
    forward = FeedForward(4 * config.n_embd, _ACTIVATIONS[config.afn])
    return Stack(
        width=config.n_embd,
        vocabulary=config.vocab_size,
        layers=(Layer(own, forward, norm, order="post", dropout=config.resid_pdrop),) * config.n_layer,
        causal=config.is_causal is not False,
        positions=Positions(config.n_positions),
        embed_dropout=config.embd_pdrop,
        deviation=config.initializer_range,
    )


def _rules(config: OpenAIGPTConfig) -> tuple[Rule, ...]:
    at, ours = "h.{i}", "layers.{i}"
    own = f"{ours}.self_attention"
    return (
        rename("tokens_embed", "embed"),
        rename("positions_embed", "positions"),
        stacked(f"{at}.attn.c_attn", f"{own}.query", f"{own}.key", f"{own}.value", turned=True),
        turned(f"{at}.attn.c_proj", f"{own}.output"),
        rename(f"{at}.ln_1", f"{own}_norm"),
        turned(f"{at}.mlp.c_fc", f"{ours}.feed_forward.up"),
        turned(f"{at}.mlp.c_proj", f"{ours}.feed_forward.down"),
        rename(f"{at}.ln_2", f"{ours}.feed_forward_norm"),
    )


FAMILY = causal_family(
    OpenAIGPTConfig,
    encoder,
    _rules,
    prefix="transformer.",
    table="tokens_embed",
    dropped=(r"\.attn\.bias$", r"^position_ids$"),
)
