"""One set of weights for both halves (BERTSHARE, Rothe et al. 2020)."""

from seqgraft.errors import ConfigurationError
from seqgraft.spec import parameters
from seqgraft.torch.stack import Stack


def tied_names(encoder: Stack, decoder: Stack) -> list[str]:
    """The canonical names of what the halves share: every tensor of the encoder.

    Raises ConfigurationError when the decoder lacks one, or has it in another shape.
    """
    own, other = parameters(encoder.spec), parameters(decoder.spec)
    for name, shape in own.items():
        if name not in other:
            raise ConfigurationError(f"`tie_encoder_decoder` needs halves alike, but the decoder has no '{name}'.")
        if other[name] != shape:
            raise ConfigurationError(
                f"`tie_encoder_decoder` needs halves alike, but '{name}' is {list(shape)} in the encoder and "
                f"{list(other[name])} in the decoder."
            )
    return list(own)


def tie_halves(encoder: Stack, decoder: Stack) -> None:
    """Give the encoder the decoder's parameters; only the cross-attention and the head stay the decoder's own."""
    for name in tied_names(encoder, decoder):
        path, _, leaf = name.rpartition(".")
        encoder.get_submodule(path)._parameters[leaf] = decoder.get_parameter(name)


def check_tied(encoder: Stack, decoder: Stack) -> None:
    """Raise ConfigurationError where the halves no longer share a tensor (one half's vocabulary was resized)."""
    for name in tied_names(encoder, decoder):
        if encoder.get_parameter(name) is not decoder.get_parameter(name):
            raise ConfigurationError(
                f"`tie_encoder_decoder` is True, so the halves must share '{name}', but each has its own: call "
                "model.tie_weights(), which keeps the decoder's, or set model.config.tie_encoder_decoder to False."
            )
