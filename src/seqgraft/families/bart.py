"""BART (Lewis et al. 2020), and those that are built as it is: a norm after each residual, a table of positions."""

from typing import ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.bart_like import BartLikeConfig, Design, Side, bart_like, learned
from seqgraft.spec import Prefix
from seqgraft.spec.prefix import Block


class BartConfig(BartLikeConfig):
    """BART's configuration; the defaults are those of `bart-large`."""

    model_type = "bart"
    attribute_map: ClassVar[dict[str, str]] = {**BartLikeConfig.attribute_map, "initializer_range": "init_std"}

    classifier_dropout: float = 0.0
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 2
    forced_eos_token_id: int | list[int] | None = 2


class PLBartConfig(BartLikeConfig):
    """PLBART's configuration (Ahmad et al. 2021); the defaults are those of `plbart-base`."""

    model_type = "plbart"
    attribute_map: ClassVar[dict[str, str]] = {**BartLikeConfig.attribute_map, "initializer_range": "init_std"}

    vocab_size: int = 50005
    encoder_layers: int = 6
    encoder_ffn_dim: int = 3072
    encoder_attention_heads: int = 12
    decoder_layers: int = 6
    decoder_ffn_dim: int = 3072
    decoder_attention_heads: int = 12
    d_model: int = 768
    attention_dropout: float = 0.1
    classifier_dropout: float = 0.0
    scale_embedding: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    forced_eos_token_id: int | list[int] | None = 2


class MvpConfig(BartLikeConfig):
    """MVP's configuration (Tang et al. 2022); the defaults are those of `RUCAIBox/mvp`."""

    model_type = "mvp"

    vocab_size: int = 50267
    classifier_dropout: float = 0.0
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 2
    use_prompt: bool = False
    prompt_length: int = 100
    prompt_mid_dim: int = 800

    def _check(self) -> None:
        super()._check()
        for name in ("prompt_length", "prompt_mid_dim") if self.use_prompt else ():
            if getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` must be at least 1, but is {getattr(self, name)}.")


class BlenderbotSmallConfig(BartLikeConfig):
    """The small Blenderbot's configuration (Roller et al. 2021); the defaults are those of `blenderbot_small-90M`."""

    model_type = "blenderbot-small"

    max_position_embeddings: int = 512
    encoder_layers: int = 8
    encoder_ffn_dim: int = 2048
    decoder_layers: int = 8
    decoder_ffn_dim: int = 2048
    d_model: int = 512
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 1
    forced_eos_token_id: int | list[int] | None = 2


def prompts(config: MvpConfig, side: Side) -> Prefix | None:
    """MVP's task-specific prompts (Tang et al. 2022, section 3.2). A decoder keeps them on its own, too."""
    if not config.use_prompt:
        return None
    blocks: tuple[Block, ...] = ("self_attention",) if side == "encoder" else ("self_attention", "cross_attention")
    return Prefix(config.prompt_length, config.prompt_mid_dim, blocks, dropout=config.dropout)


_BART = Design("post", learned(2))

FAMILIES = (
    bart_like(BartConfig, _BART),
    bart_like(PLBartConfig, Design("post", learned(2), wraps=True)),
    bart_like(MvpConfig, Design("post", learned(2), prefix=prompts)),
    bart_like(BlenderbotSmallConfig, Design("post", learned(), decoder_norm_first=True)),
)
