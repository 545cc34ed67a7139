"""EuroBERT (Boizard et al. 2025): Llama's body, seen both ways."""

from dataclasses import replace

from seqgraft.families import llama
from seqgraft.families.decoder_only import ENDS, GATED, NORMS, projections
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names
from seqgraft.spec import Stack


class EuroBertConfig(llama.LlamaConfig):
    """EuroBERT's configuration; the defaults are those of EuroBERT 210m."""

    model_type = "eurobert"

    vocab_size: int = 128256
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 8192
    rms_norm_eps: float = 1e-5
    pad_token_id: int | None = 128001
    bos_token_id: int | None = 128000
    eos_token_id: int | list[int] | None = 128001
    mask_token_id: int = 128002
    classifier_pooling: str = "late"
    pretraining_tp: int = 1


def encoder(config: EuroBertConfig) -> Stack:
    """The body: every position sees all others, whatever the configuration says of a causal mask."""
    return replace(llama.encoder(config), causal=False)


def encoder_names(config: EuroBertConfig) -> Names:
    """The bare body; heads of any kind in the file are no part of it."""
    return Names(
        (*projections(), *NORMS, *GATED, *ENDS),
        prefix="model.",
        dropped=(r"rotary_emb\.inv_freq$", r"^lm_head\.", r"^dense\.", r"^classifier\."),
    )


FAMILY = Family(EuroBertConfig, Half(encoder, encoder_names), None)
