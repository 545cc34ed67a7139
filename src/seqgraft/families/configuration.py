"""The configuration of one model: published field names and defaults, in any order, from and to `config.json`."""

import copy
import inspect
import json
import os
import warnings
from typing import Any, ClassVar, TypeVar

from seqgraft import folders
from seqgraft.errors import ConfigurationError

C = TypeVar("C", bound="PretrainedConfig")

CONFIG_NAME = "config.json"

_COMMON: dict[str, Any] = {
    "is_encoder_decoder": False,
    "is_decoder": False,
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "tie_word_embeddings": True,
    "tie_encoder_decoder": False,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "sep_token_id": None,
    "decoder_start_token_id": None,
    "return_dict": True,
    "output_hidden_states": False,
    "output_attentions": False,
    "use_cache": True,
    "is_causal": None,
    "dtype": None,
    "architectures": None,
    "graft": None,
    "whole": None,
    "new_parameters": None,
}
"""Fields that every configuration has. They are written only where they differ from these defaults."""

GENERATION_FIELDS = frozenset(
    [
        "max_length",
        "max_new_tokens",
        "min_length",
        "min_new_tokens",
        "do_sample",
        "early_stopping",
        "num_beams",
        "num_beam_groups",
        "diversity_penalty",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
        "repetition_penalty",
        "length_penalty",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "bad_words_ids",
        "num_return_sequences",
        "output_scores",
        "return_dict_in_generate",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "remove_invalid_values",
        "exponential_decay_length_penalty",
        "suppress_tokens",
        "begin_suppress_tokens",
    ]
)
"""Settings of generation that older folders keep in `config.json`; the model moves them to its generation settings."""

_PASSIVE = frozenset(
    [
        "_name_or_path",
        "name_or_path",
        "_attn_implementation_autoset",
        "_attn_implementation",
        "attn_implementation",
        "transformers_version",
        "torchscript",
        "torch_dtype",
        "id2label",
        "label2id",
        "num_labels",
        "problem_type",
        "finetuning_task",
        "task_specific_params",
        "tokenizer_class",
        "prefix",
        "pruned_heads",
        "use_bfloat16",
        "tf_legacy_loss",
        "chunk_size_feed_forward",
        "gradient_checkpointing",
        "classifier_dropout",
        "summary_type",
        "summary_use_proj",
        "summary_activation",
        "summary_proj_to_labels",
        "summary_first_dropout",
        "n_ctx",
        "model_type",
        "base_model_tp_plan",
        "base_model_pp_plan",
        "directionality",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
        "add_bias_logits",
        "add_final_layer_norm",
        "classif_dropout",
        "normalize_before",
        "normalize_embedding",
        "static_position_embeddings",
        "pretraining_tp",
        "output_past",
        "save_step",
        "adapters",
        "auto_map",
        "quantization_config",
        "extra_pos_embeddings",
        "force_bos_token_to_be_generated",
        "embd_layer_norm",
        "_num_labels",
    ]
)
"""Published fields that change nothing computed here; kept and written back without a word."""

_PASSIVE_MUST_BE_OFF = ("pruned_heads", "quantization_config", "normalize_before", "embd_layer_norm")


def _is_own(value: Any) -> bool:
    """Whether a `quantization_config` is this library's."""
    return isinstance(value, dict) and value.get("quant_method") == "seqgraft"


class PretrainedConfig:
    """The base of every configuration class.

    A subclass names its published fields and defaults as annotated class attributes. Any field may be given by
    keyword; unknown ones are kept, written back, and named once in a warning.

    Raises:
        ConfigurationError: a field that changes the mathematics has a value that is not supported.
    """

    model_type: ClassVar[str] = ""
    also: ClassVar[tuple[str, ...]] = ()
    """Other model_types that mean this family."""
    attribute_map: ClassVar[dict[str, str]] = {}
    """Common name -> this family's name of the same field."""
    fields: ClassVar[dict[str, Any]] = dict(_COMMON)
    published: ClassVar[tuple[str, ...]] = ()
    """The family's own fields, always written."""
    settled: ClassVar[tuple[str, ...]] = ()
    """Published fields that are on in the family's files and say what its mathematics is anyway."""

    vocab_size: int
    is_encoder_decoder: bool
    is_decoder: bool
    add_cross_attention: bool
    cross_attention_hidden_size: int | None
    tie_word_embeddings: bool
    tie_encoder_decoder: bool
    pad_token_id: int | None
    bos_token_id: int | None
    eos_token_id: int | list[int] | None
    sep_token_id: int | None
    decoder_start_token_id: int | None
    return_dict: bool
    output_hidden_states: bool
    output_attentions: bool
    use_cache: bool
    is_causal: bool | None
    """Of a family published without an encoder: None means causal alone, and seen both ways as a pair's encoder."""
    dtype: str | None
    architectures: list[str] | None
    graft: dict[str, Any] | None
    whole: str | None
    """The model_type of the published encoder-decoder that a pair is, or that a half is a part of."""
    new_parameters: list[str] | None
    """Of a pair's half: patterns of what no checkpoint gave beside the graft, which training takes for new."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = {
            name: cls.__dict__[name]
            for name, kind in inspect.get_annotations(cls).items()
            if name in cls.__dict__ and "ClassVar" not in str(kind)
        }
        cls.fields = {**cls.fields, **own}
        cls.published = tuple(dict.fromkeys((*cls.published, *own)))
        for name in own:
            delattr(cls, name)  # instances hold the values: a class attribute would hide the alias look-up

    def __init__(self, **kwargs: Any) -> None:
        self.name_or_path = str(kwargs.pop("name_or_path", kwargs.pop("_name_or_path", "")) or "")
        given = self._modernise(dict(kwargs))
        for name, value in copy.deepcopy(self.fields).items():
            setattr(self, name, value)
        for name, value in given.items():
            setattr(self, name, value)
        self.unknown_fields = tuple(n for n in given if not self._knows(n))
        try:
            self._check()
        except TypeError as error:
            raise ConfigurationError(
                f"The configuration of a '{self.model_type}' must describe a model, but one of its values is of the "
                f"wrong kind: {error}."
            ) from error

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Fields under their present names; a family extends this for its older layouts."""
        if "torch_dtype" in fields:
            old = fields.pop("torch_dtype")
            fields.setdefault("dtype", old)
        if fields.get("dtype") is not None:
            fields["dtype"] = str(fields["dtype"]).removeprefix("torch.")
        fields.pop("model_type", None)
        fields.pop("transformers_version", None)
        fields = {self.attribute_map.get(name, name): value for name, value in fields.items()}
        for name in _PASSIVE_MUST_BE_OFF:
            if fields.get(name) and name not in self.settled and not _is_own(fields[name]):
                raise ConfigurationError(
                    f"`{name}` must be unset for {type(self).__name__}: it is not supported, but is {fields[name]!r}."
                )
        return fields

    def _check(self) -> None:
        """Refuse values that change the mathematics and are not supported; a family extends this."""

    def _knows(self, name: str) -> bool:
        return name in self.fields or name in GENERATION_FIELDS or name in _PASSIVE or name.startswith("_")

    def __getattr__(self, name: str) -> Any:
        mapped = type(self).attribute_map.get(name)
        if mapped is not None:
            return getattr(self, mapped)
        raise AttributeError(f"{type(self).__name__} has no field '{name}'.")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("dtype", "torch_dtype") and value is not None:
            value = str(value).removeprefix("torch.")
        name = "dtype" if name == "torch_dtype" else type(self).attribute_map.get(name, name)
        object.__setattr__(self, name, value)
        told = self.__dict__.get("_on_change")
        if told is not None:
            told(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """A copy belongs to no model, so nobody is told of its changes."""
        return {name: value for name, value in self.__dict__.items() if name != "_on_change"}

    @property
    def torch_dtype(self) -> str | None:
        """The old name of `dtype`."""
        return self.dtype

    @property
    def use_return_dict(self) -> bool:
        """The field's other name of `return_dict`."""
        return self.return_dict

    @property
    def output_tied(self) -> bool:
        """Whether the output table is the input table: what the file says where the family lets it, else the field."""
        return bool(self.__dict__.get("_output_tied", self.tie_word_embeddings))

    def set_vocabulary(self, side: str, size: int) -> None:
        """Say that one half's tables have `size` rows; a family whose halves differ extends this."""
        self.vocab_size = size

    def warn_unknown(self) -> None:
        """Name the fields that no computation here knows, once."""
        if self.unknown_fields:
            warnings.warn(
                f"{type(self).__name__} does not know the fields {', '.join(sorted(self.unknown_fields))}: "
                "they are kept and written back, and change nothing.",
                stacklevel=3,
            )

    def to_dict(self) -> dict[str, Any]:
        """All fields that a `config.json` holds."""
        held: dict[str, Any] = {"model_type": self.model_type}
        for name, value in self.__dict__.items():
            common = name in _COMMON and name not in self.published and value == _COMMON[name]
            if not common and name not in ("unknown_fields", "name_or_path") and not name.startswith("_"):
                held[name] = copy.deepcopy(value)
        return held

    def to_diff_dict(self) -> dict[str, Any]:
        """The fields that differ from the class's defaults, and the model type."""
        plain = type(self)().to_dict()
        return {n: v for n, v in self.to_dict().items() if n == "model_type" or n not in plain or plain[n] != v}

    def to_json_string(self, use_diff: bool = True) -> str:
        """The fields as JSON: those that differ from the defaults, or all of them."""
        held = self.to_diff_dict() if use_diff else self.to_dict()
        return json.dumps(held, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def update(self, values: dict[str, Any]) -> None:
        """Set several fields."""
        for name, value in self._modernise(dict(values)).items():
            setattr(self, name, value)
        self._check()

    @classmethod
    def from_dict(cls: type[C], values: dict[str, Any], **overrides: Any) -> C:
        """A configuration from the object that a `config.json` holds; `overrides` come on top."""
        values = {**values, **overrides}
        said = values.get("model_type", cls.model_type)
        if said != cls.model_type and said not in cls.also:
            raise ConfigurationError(f"{cls.__name__} reads model_type '{cls.model_type}', but this is '{said}'.")
        config = cls(**values)
        config.warn_unknown()
        return config

    @classmethod
    def from_pretrained(cls: type[C], source: str | os.PathLike[str], **overrides: Any) -> C:
        """Read `config.json` of a folder or hub repository.

        `revision`, `cache_dir`, `token`, `local_files_only`, `force_download` and `subfolder` say where; anything
        else overrides a field.
        """
        origin = folders.Origin.take(overrides)
        values = folders.read_json(folders.need(source, CONFIG_NAME, origin))
        config = cls.from_dict(values, **overrides)
        config.name_or_path = os.fspath(source)
        return config

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.json`."""
        with folders.saving(folder) as staged:
            folders.write_json(staged / CONFIG_NAME, self.to_dict())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PretrainedConfig) and type(self) is type(other) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"
