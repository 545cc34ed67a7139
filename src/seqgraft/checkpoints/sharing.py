"""What both halves of a pair have in common: one table of embeddings, or all weights (BERTSHARE, Rothe et al. 2020)."""

from seqgraft.config import EncoderDecoderConfig
from seqgraft.errors import ConfigurationError
from seqgraft.families import Whole, family
from seqgraft.spec import Stack, parameters

BRIDGE = "enc_to_dec_proj."
"""Before the names of the projection between halves of two widths."""


def whole_of(config: EncoderDecoderConfig) -> Whole | None:
    """How the halves stand in one file, where the pair is a published encoder-decoder."""
    return family(config.whole).whole if config.whole is not None else None


def tied_names(encoder: Stack, decoder: Stack) -> list[str]:
    """The canonical names of what the halves share with `tie_encoder_decoder`: every tensor of the encoder.

    Raises ConfigurationError when the decoder lacks one, or has it in another shape.
    """
    own, other = parameters(encoder), parameters(decoder)
    for name, shape in own.items():
        if name not in other:
            raise ConfigurationError(f"`tie_encoder_decoder` needs halves alike, but the decoder has no '{name}'.")
        if other[name] != shape:
            raise ConfigurationError(
                f"`tie_encoder_decoder` needs halves alike, but '{name}' is {list(shape)} in the encoder and "
                f"{list(other[name])} in the decoder."
            )
    return list(own)


def shared_names(config: EncoderDecoderConfig, encoder: Stack, decoder: Stack) -> list[str]:
    """The canonical names of what the halves of a pair share."""
    return tied_names(encoder, decoder) if config.tie_encoder_decoder else one_table(config)


def one_table(config: EncoderDecoderConfig) -> list[str]:
    """The canonical name of the token embeddings, where the halves of a published encoder-decoder share them."""
    whole = whole_of(config)
    return ["embed.weight"] if whole is not None and whole.table(config.decoder) else []
