"""X-MOD (Pfeiffer et al. 2022): RoBERTa with an adapter for each language in every layer, one language's in use."""

from dataclasses import replace

from seqgraft.errors import ConfigurationError
from seqgraft.families import roberta
from seqgraft.families.activations import activation
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, rename
from seqgraft.spec import Adapter, Norm, Stack


class XmodConfig(roberta.RobertaConfig):
    """X-MOD's configuration. `default_language` is that of texts without `lang_ids`; with one it may be unset."""

    model_type = "xmod"

    vocab_size: int = 30522
    pre_norm: bool = False
    adapter_reduction_factor: int = 2
    adapter_layer_norm: bool = False
    adapter_reuse_layer_norm: bool = True
    ln_before_adapter: bool = True
    languages: list[str] = ["en_XX"]  # noqa: RUF012 (each configuration gets a copy)
    default_language: str | None = None

    def _check(self) -> None:
        super()._check()
        if self.default_language is not None and self.default_language not in self.languages:
            raise ConfigurationError(
                f"`default_language` must be one of {', '.join(self.languages)}, but is {self.default_language!r}."
            )


def _language(config: XmodConfig) -> str:
    if config.default_language is not None:
        return config.default_language
    if len(config.languages) != 1:
        raise ConfigurationError(
            f"`default_language` must be one of {', '.join(config.languages)}, since each has an adapter, but is None."
        )
    return config.languages[0]


def _adapted(stack: Stack, config: XmodConfig) -> Stack:
    _language(config)
    adapter = Adapter(
        config.hidden_size // config.adapter_reduction_factor,
        activation(config.hidden_act),
        norm="own" if config.adapter_layer_norm else "feed_forward" if config.adapter_reuse_layer_norm else None,
        normed_residual=config.ln_before_adapter,
        given="lang_ids",
    )
    return replace(
        stack,
        layers=tuple(
            replace(layer, adapter=adapter, order="pre" if config.pre_norm else "post") for layer in stack.layers
        ),
        final_norm=Norm("layer", config.layer_norm_eps) if config.pre_norm else None,
    )


def encoder(config: XmodConfig) -> Stack:
    """RoBERTa's body with adapters."""
    return _adapted(roberta.encoder(config), config)


def decoder(config: XmodConfig) -> Stack:
    """The body with RoBERTa's head."""
    return _adapted(roberta.decoder(config), config)


def _named(names: Names, config: XmodConfig) -> Names:
    at, language = "encoder.layer.{i}.output", _language(config)
    rules = (
        rename(f"{at}.adapter_modules.{language}.dense1", "layers.{i}.adapter.up"),
        rename(f"{at}.adapter_modules.{language}.dense2", "layers.{i}.adapter.down"),
        rename(f"{at}.adapter_layer_norm", "layers.{i}.adapter_norm"),
        rename("encoder.LayerNorm", "final_norm"),
    )
    return replace(names, rules=(*names.rules, *rules), carried=(*names.carried, r"\.adapter_modules\."))


def encoder_names(config: XmodConfig) -> Names:
    """RoBERTa's, and the adapters; those of the other languages are kept."""
    return _named(roberta.encoder_names(config), config)


def decoder_names(config: XmodConfig) -> Names:
    """RoBERTa's, and the adapters; those of the other languages are kept."""
    return _named(roberta.decoder_names(config), config)


FAMILY = Family(XmodConfig, Half(encoder, encoder_names), Half(decoder, decoder_names), pooled=True)
