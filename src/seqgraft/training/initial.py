"""Better starts for what is new in a pair than random numbers."""

import torch

from seqgraft.errors import ConfigurationError
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.data import TokenizedPairs


def set_output_prior(model: EncoderDecoderModel, data: TokenizedPairs) -> bool:
    """Set the bias of the decoder's output to the logarithm of how often each token is a label.

    A model that knows nothing yet then predicts by frequency, and the first steps need not learn that. Returns False,
    and changes nothing, when the output has no bias. Meant for a fresh head: it overwrites.
    """
    output = model.decoder.get_output_embeddings()
    if output is None or output.bias is None:
        return False
    counts = torch.full((len(output.bias),), 0.1)
    for index in range(len(data)):
        labels = torch.from_numpy(data.targets[index].astype("int64"))
        counts.index_add_(0, labels, torch.ones(len(labels)))
    prior = counts.log() - counts.log().mean()
    with torch.no_grad():
        output.bias.copy_(prior.to(output.bias))
    return True


def copy_cross_attention(model: EncoderDecoderModel) -> None:
    """Start every cross-attention as a copy of its layer's self-attention, norm included.

    Halves of one checkpoint have states of one kind, so that what attends to its own words attends to the source's
    alike (cross-attention of DeltaLM, Ma et al. 2021, starts so too). Raises ConfigurationError when the encoder's
    width is not the decoder's.
    """
    for layer in model.decoder.layers:
        for part in ("attention", "attention_norm"):
            own, other = (getattr(layer, f"{block}_{part}") for block in ("self", "cross"))
            if other is None:
                continue
            given, wanted = own.state_dict(), other.state_dict()
            if any(name not in given or given[name].shape != value.shape for name, value in wanted.items()):
                raise ConfigurationError(
                    "Cross-attention can start as a copy of self-attention only where both have the same shapes, "
                    "but this pair's differ."
                )
            with torch.no_grad():
                for name, value in wanted.items():
                    value.copy_(given[name])
