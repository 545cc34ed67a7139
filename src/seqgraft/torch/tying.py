"""What both halves of a pair have in common: one table of embeddings, or all weights (BERTSHARE, Rothe et al. 2020)."""

from seqgraft.checkpoints import sharing
from seqgraft.config import EncoderDecoderConfig
from seqgraft.errors import ConfigurationError
from seqgraft.torch.stack import Stack


def tied_names(encoder: Stack, decoder: Stack) -> list[str]:
    """The canonical names of what the halves share with `tie_encoder_decoder`: every tensor of the encoder.

    Raises ConfigurationError when the decoder lacks one, or has it in another shape.
    """
    if getattr(encoder, "spec", None) is None:
        raise ConfigurationError(f"`tie_encoder_decoder` must be off, since no family declares {type(encoder)}.")
    return sharing.tied_names(encoder.spec, decoder.spec)


def shared_names(config: EncoderDecoderConfig, encoder: Stack, decoder: Stack) -> list[str]:
    """The canonical names of what the halves of a pair share."""
    return tied_names(encoder, decoder) if config.tie_encoder_decoder else sharing.one_table(config)


def tie(config: EncoderDecoderConfig, encoder: Stack, decoder: Stack) -> None:
    """Give the encoder the decoder's parameters where both share them; what a published model holds as a buffer,
    training leaves alone."""
    for name in shared_names(config, encoder, decoder):
        path, _, leaf = name.rpartition(".")
        own, other = encoder.get_submodule(path), decoder.get_submodule(path)
        own._parameters[leaf] = decoder.get_parameter(name)
        if leaf == "weight" and other._parameters.get("scales") is not None:  # a quantised weight's
            own._parameters["scales"] = other._parameters["scales"]
    whole = sharing.whole_of(config)
    for name in whole.fixed if whole is not None else ():
        decoder.get_parameter(name).requires_grad_(False)


def check_tied(config: EncoderDecoderConfig, encoder: Stack, decoder: Stack) -> None:
    """Raise ConfigurationError where the halves no longer share a tensor (one half's vocabulary was resized)."""
    for name in shared_names(config, encoder, decoder):
        if encoder.get_parameter(name) is decoder.get_parameter(name):
            continue
        if config.whole is not None:
            raise ConfigurationError(
                f"The halves of '{config.whole}' must share '{name}', but each has its own: resize both with "
                "model.resize_token_embeddings(n), or call model.tie_weights(), which keeps the decoder's."
            )
        raise ConfigurationError(
            f"`tie_encoder_decoder` is True, so the halves must share '{name}', but each has its own: call "
            "model.tie_weights(), which keeps the decoder's, or set model.config.tie_encoder_decoder to False."
        )
