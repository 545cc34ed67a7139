"""BioGPT (Luo et al. 2022)."""

from seqgraft.families.activations import activation
from seqgraft.families.causal import causal_family, heads_divide
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Rule, rename
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Positions, Stack


class BioGptConfig(PretrainedConfig):
    """BioGPT's configuration; the defaults are those of `biogpt`."""

    model_type = "biogpt"

    vocab_size: int = 42384
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 1024
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    scale_embedding: bool = True
    use_cache: bool = True
    layerdrop: float = 0.0
    activation_dropout: float = 0.0
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2

    def _check(self) -> None:
        heads_divide(self)


def encoder(config: BioGptConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others; `layer_norm_eps` is said and never used."""
    norm = Norm("layer", 1e-5)
    own = Attention(
        config.num_attention_heads,
        config.num_attention_heads,
        config.hidden_size // config.num_attention_heads,
        input_bias=True,
        output_bias=True,
        dropout=config.attention_probs_dropout_prob,
    )
    forward = FeedForward(config.intermediate_size, activation(config.hidden_act), dropout=config.activation_dropout)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(Layer(own, forward, norm, order="pre", dropout=config.hidden_dropout_prob),) * config.num_hidden_layers,
        causal=config.is_causal is not False,
        embed_scale=config.hidden_size**0.5 if config.scale_embedding else 1.0,
        positions=Positions(config.max_position_embeddings + 2, 2, "real", given="places"),
        embed_dropout=config.hidden_dropout_prob,
        layer_drop=config.layerdrop,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def _rules(config: BioGptConfig) -> tuple[Rule, ...]:
    at, ours = "layers.{i}", "layers.{i}"
    parts = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "output"))
    return (
        rename("embed_tokens", "embed"),
        rename("embed_positions", "positions"),
        *(rename(f"{at}.self_attn.{their}", f"{ours}.self_attention.{our}") for their, our in parts),
        rename(f"{at}.self_attn_layer_norm", f"{ours}.self_attention_norm"),
        rename(f"{at}.fc1", f"{ours}.feed_forward.up"),
        rename(f"{at}.fc2", f"{ours}.feed_forward.down"),
        rename(f"{at}.final_layer_norm", f"{ours}.feed_forward_norm"),
        rename("layer_norm", "final_norm"),
    )


FAMILY = causal_family(
    BioGptConfig, encoder, _rules, prefix="biogpt.", table="embed_tokens", output="output_projection"
)
