"""Marian (Junczys-Dowmunt et al. 2018): sines for positions, and two vocabularies where it says so."""

from typing import Any

from seqgraft.families.bart_like import BartLikeConfig, Design, Side, bart_like, sines


class MarianConfig(BartLikeConfig):
    """Marian's configuration; the defaults are those of the `Helsinki-NLP/opus-mt-*` models."""

    model_type = "marian"

    vocab_size: int = 58101
    decoder_vocab_size: int | None = None
    decoder_start_token_id: int | None = 58100
    pad_token_id: int | None = 58100
    eos_token_id: int | list[int] | None = 0
    forced_eos_token_id: int | list[int] | None = 0
    share_encoder_decoder_embeddings: bool = True

    def _check(self) -> None:
        super()._check()
        if self.share_encoder_decoder_embeddings or self.decoder_vocab_size is None:
            self.decoder_vocab_size = self.vocab_size

    def set_vocabulary(self, side: str, size: int) -> None:
        """Set the size of one half's vocabulary, or of the one that both have."""
        if side == "encoder" or self.share_encoder_decoder_embeddings:
            self.vocab_size = size
        if side == "decoder" or self.share_encoder_decoder_embeddings:
            self.decoder_vocab_size = size


def _vocabulary(config: Any, side: Side) -> int:
    alone = side == "decoder" and not config.share_encoder_decoder_embeddings
    return int(config.decoder_vocab_size if alone else config.vocab_size)


FAMILY = bart_like(
    MarianConfig,
    Design(
        "post",
        sines,
        embed_norm=False,
        stored_sines=True,
        vocabulary=_vocabulary,
        one_table=lambda config: bool(config.share_encoder_decoder_embeddings and config.tie_word_embeddings),
    ),
)
