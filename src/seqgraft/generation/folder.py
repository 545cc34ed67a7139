"""The generation settings of a pair's folder, in every framework."""

import os

from seqgraft import folders
from seqgraft.config import SPECIAL_IDS, EncoderDecoderConfig
from seqgraft.generation.config import GenerationConfig

_FILE = "generation_config.json"


def pair_generation(
    source: str | os.PathLike[str], origin: folders.Origin, config: EncoderDecoderConfig
) -> GenerationConfig:
    """The folder's generation settings; what older folders keep in `config.json` when there is no file of them.

    The reference takes special ids from the decoder when it makes a pair, and never hears of those that the pair's
    configuration is given afterwards: such an id is stale.
    """
    if folders.find(source, _FILE, origin) is None:
        return GenerationConfig.from_model_config(config)
    made = GenerationConfig.from_pretrained(source, **vars(origin))
    for name in SPECIAL_IDS if made._from_model_config else ():
        own = getattr(config, name, None)
        if own is not None and getattr(made, name) == getattr(config.decoder, name, None):
            setattr(made, name, own)
    return made
