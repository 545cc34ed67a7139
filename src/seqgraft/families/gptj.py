"""GPT-J (Wang & Komatsuzaki 2021): attention and feed-forward side by side, and a part of each head turns in pairs."""

from typing import ClassVar

from seqgraft.families.activations import activation
from seqgraft.families.causal import causal_family, heads_divide
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Rule, rename
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Rotary, Stack


class GPTJConfig(PretrainedConfig):
    """GPT-J's configuration; the defaults are those of `gpt-j-6b`."""

    model_type = "gptj"
    attribute_map: ClassVar[dict[str, str]] = {
        "max_position_embeddings": "n_positions",
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int = 50400
    n_positions: int = 2048
    n_embd: int = 4096
    n_layer: int = 28
    n_head: int = 16
    rotary_dim: int | None = 64
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    attn_pdrop: float = 0.0
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    use_cache: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    tie_word_embeddings: bool = False

    def _check(self) -> None:
        heads_divide(self)


def encoder(config: GPTJConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others."""
    norm = Norm("layer", config.layer_norm_epsilon)
    width = config.n_embd // config.n_head
    own = Attention(
        config.n_head,
        config.n_head,
        width,
        rotary=Rotary(10000.0, config.rotary_dim if config.rotary_dim != width else None, "pairs"),
        dropout=config.attn_pdrop,
    )
    forward = FeedForward(config.n_inner or 4 * config.n_embd, activation(config.activation_function))
    layer = Layer(own, forward, norm, order="parallel", one_norm=True, dropout=config.resid_pdrop)
    return Stack(
        width=config.n_embd,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.n_layer,
        causal=config.is_causal is not False,
        embed_dropout=config.embd_pdrop,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def _rules(config: GPTJConfig) -> tuple[Rule, ...]:
    at, ours = "h.{i}", "layers.{i}"
    parts = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "output"))
    return (
        rename("wte", "embed"),
        rename(f"{at}.ln_1", f"{ours}.self_attention_norm"),
        *(rename(f"{at}.attn.{their}", f"{ours}.self_attention.{our}") for their, our in parts),
        rename(f"{at}.mlp.fc_in", f"{ours}.feed_forward.up"),
        rename(f"{at}.mlp.fc_out", f"{ours}.feed_forward.down"),
        rename("ln_f", "final_norm"),
    )


def _head(config: GPTJConfig) -> Head:
    return Head(config.tie_word_embeddings, bias=True)


FAMILY = causal_family(
    GPTJConfig,
    encoder,
    _rules,
    prefix="transformer.",
    table="wte",
    head=_head,
    dropped=(r"\.attn\.(bias|masked_bias)$", r"\.attn\.embed_positions$"),
)
