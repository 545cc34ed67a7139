"""Starts without a checkpoint: a whole pair of random weights, and a better one than nought for a fresh output."""

import os

import torch

from seqgraft.config import AutoConfig, EncoderDecoderConfig
from seqgraft.folders import Origin
from seqgraft.generation.folder import pair_generation
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.data import TokenizedPairs


def untrained(source: str | os.PathLike[str]) -> EncoderDecoderModel:
    """A pair of random weights, all of which count as new, with a folder's configuration and generation settings.

    The folder needs no weights: a `config.json` will do, of a pair or of a published kind of encoder-decoder. Raises
    FolderError where there is none, ConfigurationError for that of anything else.
    """
    config = EncoderDecoderConfig.of(AutoConfig.from_pretrained(source))
    config.__dict__.pop("quantization_config", None)
    model = EncoderDecoderModel.from_config(config)
    model.config.encoder.new_parameters = model.config.decoder.new_parameters = ["*"]
    model.generation_config = pair_generation(source, Origin(), model.config)
    return model


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
