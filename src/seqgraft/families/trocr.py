"""The decoder of TrOCR (Li et al. 2021): BART's, with options for its embeddings, and no encoder for text."""

from typing import Any, ClassVar

from seqgraft.families.bart_like import Design, check_heads, counted_sines, halves, learned
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names
from seqgraft.spec import Stack


class TrOCRConfig(PretrainedConfig):
    """TrOCR's configuration; the defaults are those of `trocr-base`."""

    model_type = "trocr"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "decoder_attention_heads",
        "num_hidden_layers": "decoder_layers",
    }

    vocab_size: int = 50265
    d_model: int = 1024
    decoder_layers: int = 12
    decoder_attention_heads: int = 16
    decoder_ffn_dim: int = 4096
    activation_function: str = "gelu"
    max_position_embeddings: int = 512
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    decoder_start_token_id: int | None = 2
    init_std: float = 0.02
    decoder_layerdrop: float = 0.0
    use_cache: bool = True
    scale_embedding: bool = False
    use_learned_position_embeddings: bool = True
    layernorm_embedding: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2

    def _check(self) -> None:
        check_heads(self, "decoder")


def _half(config: TrOCRConfig) -> Half:
    positions = learned(2) if config.use_learned_position_embeddings else counted_sines
    design = Design("post", positions, embed_norm=config.layernorm_embedding, head="output_projection")
    return halves(design)[1]


def decoder(config: TrOCRConfig) -> Stack:
    """The decoder, with the cross-attention that it has always."""
    return _half(config).spec(config)


def decoder_names(config: Any) -> Names:
    """In a file of its own."""
    return _half(config).names(config)


FAMILY = Family(TrOCRConfig, None, Half(decoder, decoder_names))
