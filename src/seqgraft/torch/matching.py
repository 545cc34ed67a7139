"""Which two models make a pair."""

from typing import Any

from seqgraft.config import encoder_width
from seqgraft.errors import ConfigurationError
from seqgraft.families import family
from seqgraft.torch.foreign import ForeignEncoder
from seqgraft.torch.halves import CausalModel, EncoderModel


def check_kinds(encoder: Any, decoder: Any) -> None:
    """A half that is handed in is one of ours, and on its own side."""
    kinds = (
        ("encoder", encoder, (EncoderModel, ForeignEncoder), "the bare body of a family, such as BertModel"),
        ("decoder", decoder, CausalModel, "a model with a language-model head, such as BertLMHeadModel"),
    )
    for side, half, kind, what in kinds:
        if half is not None and not isinstance(half, kind):
            raise ConfigurationError(
                f"`{side}` must be {what} of this library, but is a {type(half).__name__} of {type(half).__module__}."
            )


def check_halves(encoder: EncoderModel | ForeignEncoder, decoder: CausalModel) -> None:
    """The encoder sees its whole source; the decoder sees the encoder, at its width, and never the future.

    What an encoder of another library sees, nobody here knows.
    """
    if isinstance(encoder, EncoderModel):
        _check_encoder(encoder)
    _check_decoder(decoder)
    reads, width = decoder.config.cross_attention_hidden_size, encoder_width(encoder.config)
    if reads is not None and reads != width:
        raise ConfigurationError(
            f"`decoder.cross_attention_hidden_size` must be the encoder's width ({width}), but is {reads}."
        )


def _check_encoder(encoder: EncoderModel) -> None:
    if encoder.spec.sees_memory:
        raise ConfigurationError(
            "`encoder` must have no cross-attention, but has it and would never use it: load it with "
            "`add_cross_attention=False`."
        )
    if encoder.spec.causal and not family(encoder.config.model_type).sees_back:
        raise ConfigurationError(
            "`encoder` must see its whole source, but is causal: load it with `is_decoder=False`, or `is_causal=False` "
            "where that changes nothing."
        )


def _check_decoder(decoder: CausalModel) -> None:
    if not decoder.spec.sees_memory:
        raise ConfigurationError(
            "`decoder` must have cross-attention, but has none and would ignore its encoder. Set "
            "`is_decoder=True` and `add_cross_attention=True` in its configuration when you load it, or use "
            "EncoderDecoderModel.from_encoder_decoder_pretrained, which does."
        )
    if not decoder.spec.causal:
        raise ConfigurationError(
            "`decoder` must be causal, but sees the future. Set `is_decoder=True` in its configuration when you "
            "load it, or use EncoderDecoderModel.from_encoder_decoder_pretrained, which does."
        )
