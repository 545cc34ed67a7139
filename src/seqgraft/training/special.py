"""The special ids of a pair, as training reads them."""

from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.torch.special import many, settle, settle_language


def sides(tokenizer: Tokenizer | PairTokenizer) -> tuple[Tokenizer, Tokenizer]:
    """(what reads the sources, what writes the targets)"""
    if isinstance(tokenizer, PairTokenizer):
        return tokenizer.source, tokenizer.target
    return tokenizer, tokenizer


def settle_special_ids(model: EncoderDecoderModel, tokenizer: Tokenizer | PairTokenizer) -> str | None:
    """Set what `model.config` does not know of start, end and padding, and the language that generation begins in; see
    `seqgraft.torch.special`."""
    source, target = sides(tokenizer)
    return " ".join(note for note in (settle(model, source, target), settle_language(model, target)) if note) or None


def end_ids(model: EncoderDecoderModel) -> list[int]:
    """The ids that `generate` stops on."""
    return many(model.config.special("eos_token_id"))
