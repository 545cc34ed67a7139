"""Longformer (Beltagy et al. 2020): RoBERTa whose layers see a window, and some tokens that see everything."""

from dataclasses import replace

from seqgraft.errors import ConfigurationError
from seqgraft.families import roberta
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, rename
from seqgraft.spec import Stack


class LongformerConfig(roberta.RobertaConfig):
    """Longformer's configuration."""

    model_type = "longformer"

    vocab_size: int = 30522
    attention_window: list[int] | int = 512
    sep_token_id: int | None = 2
    onnx_export: bool = False

    def _check(self) -> None:
        super()._check()
        several = self.attention_window if isinstance(self.attention_window, list) else [self.attention_window]
        if any(size < 2 or size % 2 for size in several):
            raise ConfigurationError(
                f"`attention_window` must hold even numbers of at least 2, but is {self.attention_window}."
            )
        if isinstance(self.attention_window, list) and len(several) != self.num_hidden_layers:
            raise ConfigurationError(
                f"`attention_window` must have a number for each of {self.num_hidden_layers} layers, "
                f"but has {len(several)}."
            )

    @property
    def windows(self) -> list[int]:
        """Each layer's window: half of it to either side."""
        said = self.attention_window
        return said if isinstance(said, list) else [said] * self.num_hidden_layers


def encoder(config: LongformerConfig) -> Stack:
    """RoBERTa's body with windows; a call's `global_attention_mask` says which tokens see beyond them."""
    plain = roberta.encoder(config)
    layers = tuple(
        replace(layer, self_attention=replace(layer.self_attention, window=(size // 2, size // 2), everywhere=True))
        for layer, size in zip(plain.layers, config.windows, strict=True)
    )
    return replace(plain, layers=layers, causal=False)


def encoder_names(config: LongformerConfig) -> Names:
    """RoBERTa's, after another prefix, and what projects global tokens."""
    plain, at = roberta.encoder_names(config), "encoder.layer.{i}.attention.self"
    parts = ("query", "key", "value")
    everywhere = (rename(f"{at}.{part}_global", f"layers.{{i}}.self_attention.everywhere.{part}") for part in parts)
    return replace(
        plain,
        rules=(*plain.rules, *everywhere),
        prefix="longformer.",
        dropped=(*plain.dropped, r"^qa_outputs\."),
    )


FAMILY = Family(LongformerConfig, Half(encoder, encoder_names), None, pooled=True)
