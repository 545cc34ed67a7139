"""Phi 1 to 2 (Gunasekar et al. 2023): both blocks of a layer read one norm, and a part of each head turns."""

from typing import ClassVar

from seqgraft.families.activations import activation
from seqgraft.families.decoder_only import FORWARD, LAYER, OWN, DecoderOnlyConfig, decoder_only
from seqgraft.families.naming import rename
from seqgraft.families.rope import rotary
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Stack


class PhiConfig(DecoderOnlyConfig):
    """Phi's configuration; the defaults are those of Phi 1.5."""

    model_type = "phi"
    turned: ClassVar[float | None] = 0.5

    vocab_size: int = 51200
    hidden_size: int = 2048
    intermediate_size: int = 8192
    num_hidden_layers: int = 24
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    attention_dropout: float = 0.0
    hidden_act: str = "gelu_new"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    use_cache: bool = True
    tie_word_embeddings: bool = False
    qk_layernorm: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2


def encoder(config: PhiConfig) -> Stack:
    """The body."""
    norm = Norm("layer", config.layer_norm_eps)
    own = Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        input_bias=True,
        output_bias=True,
        rotary=rotary(config),
        head_norm=norm if config.qk_layernorm else None,
        dropout=config.attention_dropout,
    )
    width = FeedForward(config.intermediate_size, activation(config.hidden_act))
    layer = Layer(own, width, norm, order="parallel", dropout=config.resid_pdrop, one_norm=True)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.num_hidden_layers,
        causal=config.is_causal is not False,
        embed_dropout=config.embd_pdrop,
        final_norm=norm,
        deviation=config.initializer_range,
    )


_PARTS = (
    ("q_proj", "query"),
    ("k_proj", "key"),
    ("v_proj", "value"),
    ("dense", "output"),
    ("q_layernorm", "query_norm"),
    ("k_layernorm", "key_norm"),
)
_RULES = (
    rename("embed_tokens", "embed"),
    rename(f"{LAYER}.input_layernorm", f"{OWN}_norm"),
    *(rename(f"{LAYER}.self_attn.{theirs}", f"{OWN}.{ours}") for theirs, ours in _PARTS),
    rename(f"{LAYER}.mlp.fc1", f"{FORWARD}.up"),
    rename(f"{LAYER}.mlp.fc2", f"{FORWARD}.down"),
    rename("final_layernorm", "final_norm"),
)

FAMILY = decoder_only(PhiConfig, encoder, _RULES, lambda config: Head(config.tie_word_embeddings, bias=True))
