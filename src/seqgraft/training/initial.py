"""A better start for a fresh output than nought."""

import torch

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
