"""BigBird (Zaheer et al. 2020): an encoder that attends to a few blocks of a long text; a decoder attends to all."""

from dataclasses import replace
from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.families import bert
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names
from seqgraft.spec import BlockSparse, Stack


class BigBirdConfig(bert.BertConfig):
    """BigBird's configuration; the defaults are those of `bigbird-roberta-base`."""

    model_type = "big_bird"

    vocab_size: int = 50358
    hidden_act: str = "gelu_new"
    max_position_embeddings: int = 4096
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    sep_token_id: int | None = 66
    attention_type: str = "block_sparse"
    use_bias: bool = True
    rescale_embeddings: bool = False
    block_size: int = 64
    num_random_blocks: int = 3

    def _check(self) -> None:
        super()._check()
        sparse(self)


def sparse(config: Any) -> BlockSparse | None:
    """Which blocks an encoder sees; None where it sees all."""
    if config.attention_type not in ("block_sparse", "original_full"):
        raise ConfigurationError(
            f"`attention_type` must be 'block_sparse' or 'original_full', but is {config.attention_type!r}."
        )
    if config.attention_type == "original_full":
        return None
    return BlockSparse(config.block_size, config.num_random_blocks, config.max_position_embeddings)


def encoder(config: BigBirdConfig) -> Stack:
    """BERT's body, whose embeddings are dropped before their norm, and may be scaled."""
    return _body(config, full=config.is_decoder)


def _body(config: BigBirdConfig, full: bool) -> Stack:
    plain = bert.encoder(config)
    layers = []
    for layer in plain.layers:
        own = replace(layer.self_attention, input_bias=config.use_bias, sparse=None if full else sparse(config))
        cross = layer.cross_attention and replace(layer.cross_attention, input_bias=config.use_bias)
        layers.append(replace(layer, self_attention=own, cross_attention=cross))
    return replace(
        plain,
        layers=tuple(layers),
        embed_scale=config.hidden_size**0.5 if config.rescale_embeddings else 1.0,
        scales_given=config.rescale_embeddings,
        embed_dropout_first=True,
    )


def decoder(config: BigBirdConfig) -> Stack:
    """The body with the masked-language-model head, attending to everything."""
    return replace(_body(config, full=True), head=bert.decoder(config).head)


def decoder_names(config: BigBirdConfig) -> Names:
    """BERT's; the file of the class with a head has a pooler too."""
    plain = bert.decoder_names(config)
    return replace(plain, carried=(*plain.carried, r"^pooler\."))


FAMILY = Family(
    BigBirdConfig, Half(encoder, bert.encoder_names), Half(decoder, decoder_names), pooled=True, pooler="pooler"
)
