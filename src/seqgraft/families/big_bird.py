"""BigBird (Zaheer et al. 2020), where it attends to everything: as a decoder, or to texts too short for its blocks."""

from dataclasses import replace

from seqgraft.errors import ConfigurationError
from seqgraft.families import bert
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names
from seqgraft.spec import Stack


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
        if self.attention_type not in ("block_sparse", "original_full"):
            raise ConfigurationError(
                f"`attention_type` must be 'block_sparse' or 'original_full', but is {self.attention_type!r}."
            )

    @property
    def longest(self) -> int | None:
        """The longest text of an encoder that attends to everything: two global blocks, three near ones, the random
        ones twice. Longer ones would attend to blocks drawn at random."""
        if self.attention_type == "original_full" or self.is_decoder:
            return None
        return (5 + 2 * self.num_random_blocks) * self.block_size


def encoder(config: BigBirdConfig) -> Stack:
    """BERT's body, whose embeddings are dropped before their norm, and may be scaled."""
    plain = bert.encoder(config)
    layers = []
    for layer in plain.layers:
        own = replace(layer.self_attention, input_bias=config.use_bias)
        cross = layer.cross_attention and replace(layer.cross_attention, input_bias=config.use_bias)
        layers.append(replace(layer, self_attention=own, cross_attention=cross))
    return replace(
        plain,
        layers=tuple(layers),
        embed_scale=config.hidden_size**0.5 if config.rescale_embeddings else 1.0,
        scales_given=config.rescale_embeddings,
        embed_dropout_first=True,
        longest=config.longest,
    )


def decoder(config: BigBirdConfig) -> Stack:
    """The body with the masked-language-model head, attending to everything."""
    return replace(encoder(config), head=bert.decoder(config).head, longest=None)


def decoder_names(config: BigBirdConfig) -> Names:
    """BERT's; the file of the class with a head has a pooler too."""
    plain = bert.decoder_names(config)
    return replace(plain, carried=(*plain.carried, r"^pooler\."))


FAMILY = Family(
    BigBirdConfig, Half(encoder, bert.encoder_names), Half(decoder, decoder_names), pooled=True, pooler="pooler"
)
