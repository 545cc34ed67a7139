"""The masks that padding implies, where a call brings none."""

from torch import Tensor

from seqgraft.config import EncoderDecoderConfig
from seqgraft.torch.search_prompt import inferred_mask
from seqgraft.torch.special import many


def source_mask(config: EncoderDecoderConfig, input_ids: Tensor | None, mask: Tensor | None) -> Tensor | None:
    """The source's mask, or what its padding implies."""
    if mask is not None or input_ids is None:
        return mask
    encoder = config.encoder
    if encoder.pad_token_id is not None:
        return inferred_mask(input_ids, encoder.pad_token_id, encoder.eos_token_id)
    return inferred_mask(input_ids, config.special("pad_token_id"), config.special("eos_token_id"))


def target_mask(config: EncoderDecoderConfig, ids: Tensor) -> Tensor | None:
    """The mask that padding of the decoder's inputs implies; the start token is seen, whatever its id.

    Where padding is the end token as well (GPT-2), an end is seen, and of those in a row at the right the first.
    """
    pad = config.special("pad_token_id")
    if pad is None or config.whole is not None:  # which were trained so: they hide nothing of their inputs
        return None
    mask = ids != pad
    if pad in many(config.special("eos_token_id")):
        following = mask.flip(1).cummax(1).values.flip(1)  # whether the text goes on here or later
        mask = following.clone()
        mask[:, 1:] |= following[:, :-1]
        mask[:, 0] = True
    if config.special("decoder_start_token_id") == pad:
        mask[:, 0] = True
    return None if bool(mask.all()) else mask.long()
