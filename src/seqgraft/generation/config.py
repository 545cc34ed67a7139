"""`GenerationConfig`: what to generate, as the field names it, and the file `generation_config.json`."""

import copy
import json
import os
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from seqgraft import folders
from seqgraft.errors import GenerationError
from seqgraft.generation.caching import QuantizedCacheConfig
from seqgraft.generation.fields import EXTRA_OUTPUTS, METADATA, PUBLISHED, UNSUPPORTED
from seqgraft.generation.rules import faults, remarks
from seqgraft.generation.watermarking import WatermarkingConfig

FILE = "generation_config.json"


class GenerationConfig:
    """The settings of `generate`, every one None until it is set.

    Names that are not published are kept as well, written back, and named in a warning. `on_change` is called with
    the name and the value of every public field that is set; copies do not take it along.
    """

    on_change: Callable[[str, Any], None] | None = None

    if TYPE_CHECKING:  # the fields stand in `fields.py`

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, **settings: Any) -> None:
        for name in PUBLISHED:
            setattr(self, name, settings.pop(name, None))
        for name in METADATA:
            setattr(self, name, settings.pop(name, None))
        settings.pop("_commit_hash", None)  # files of older versions carry it
        if settings:
            warnings.warn(f"GenerationConfig keeps the unknown fields {', '.join(sorted(settings))}.", stacklevel=2)
        for name, value in settings.items():
            setattr(self, name, value)
        self.validate({name for name, value in vars(self).items() if value is not None})

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "watermarking_config" and value is not None:
            value = WatermarkingConfig.of(value)
        if name == "compile_config" and hasattr(value, "to_dict"):
            value = value.to_dict()
        super().__setattr__(name, value)
        if not name.startswith("_") and name not in ("on_change", *METADATA) and self.on_change is not None:
            self.on_change(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "on_change"}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GenerationConfig) and self._settings() == other._settings()

    __hash__ = None  # type: ignore[assignment]  # it can change

    def __repr__(self) -> str:
        settings = {name: value for name, value in self._settings().items() if value is not None}
        return f"{type(self).__name__} {json.dumps(_plain(settings), indent=2, sort_keys=True, default=str)}"

    def to_dict(self) -> dict[str, Any]:
        """Every field, the unset ones as None; changing it changes nothing here."""
        return copy.deepcopy(self.__getstate__())

    def to_diff_dict(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: value for name, value in self.to_dict().items() if value is not None}

    def update(self, defaults_only: bool = False, **settings: Any) -> dict[str, Any]:
        """Set the fields named here (only those still None, with `defaults_only`); what is no field is returned."""
        unused = {name: value for name, value in settings.items() if not self.has(name)}
        given = {name: value for name, value in settings.items() if name not in unused}
        for name, value in given.items():
            if not defaults_only or getattr(self, name) is None:
                setattr(self, name, value)
        self.validate(set(given))
        return unused

    def has(self, name: str) -> bool:
        """Whether `name` is a field: a published one or one that was kept."""
        return name in PUBLISHED or (name in vars(self) and name != "on_change" and not name.startswith("_"))

    def validate(self, given: Collection[str] | None = None) -> None:
        """Raise GenerationError for what is impossible or contradicts itself; warn of what will have no effect.

        `given` names the fields that the caller set just now: defaults that a file brought cause no warnings then.
        """
        found = faults(self)
        if found:
            raise GenerationError(" ".join(found))
        for remark in remarks(self, given):
            warnings.warn(remark, UserWarning, stacklevel=3)

    def unsupported(self) -> dict[str, Any]:
        """The fields that are set to something that this version cannot do yet."""
        return {
            name: getattr(self, name)
            for name, off in UNSUPPORTED.items()
            if getattr(self, name) is not None and getattr(self, name) != off
        }

    def over(self, base: "GenerationConfig") -> "GenerationConfig":
        """A copy whose unset fields are those of `base`."""
        both = copy.deepcopy(self)
        for name, value in base.to_dict().items():
            if getattr(both, name, None) is None:
                setattr(both, name, value)
        return both

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], **changes: Any) -> "GenerationConfig":
        """A configuration of a file's settings; `changes` go over them."""
        return cls(**{**settings, **changes})

    @classmethod
    def from_model_config(cls, config: Any) -> "GenerationConfig":
        """The generation settings that a model's configuration holds (files of version 4 kept them there).

        A pair's own fields come first, then its decoder's. `config` is a mapping or has `to_dict()`.
        """
        outer = dict(config if isinstance(config, Mapping) else config.to_dict())
        inner = outer.get("decoder")
        inner = dict(inner if isinstance(inner, Mapping) else inner.to_dict()) if inner is not None else {}
        names = [name for name in PUBLISHED if name != "use_cache"]  # in a model's configuration: what `forward` does
        layers = [{name: layer[name] for name in names if layer.get(name) is not None} for layer in (inner, outer)]
        settings = {**layers[0], **layers[1]}
        # Attentions and states are also asked of `forward`, where a dictionary is the default.
        if any(settings.get(name) for name in EXTRA_OUTPUTS):
            settings["return_dict_in_generate"] = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # published configurations hold idle sampling settings
            made = cls(**settings)
        made._from_model_config = True
        return made

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike[str], config_file_name: str = FILE, **arguments: Any
    ) -> "GenerationConfig":
        """Read a folder's or hub repository's file; FolderError when there is none.

        `arguments` are `revision`, `cache_dir`, `token`, `subfolder`, `local_files_only`, `force_download`, and
        settings that go over the file's. With `return_unused_kwargs=True`, a pair: also what was none of these.
        """
        return_unused = arguments.pop("return_unused_kwargs", False)
        origin = folders.Origin.take(arguments)
        settings = folders.read_json(folders.need(source, config_file_name, origin))
        changes = {name: value for name, value in arguments.items() if name in PUBLISHED or name in settings}
        unused = {name: value for name, value in arguments.items() if name not in changes}
        if unused and not return_unused:
            raise TypeError(f"GenerationConfig.from_pretrained() got unexpected arguments: {', '.join(unused)}.")
        made = cls.from_dict(settings, **changes)
        return (made, unused) if return_unused else made  # type: ignore[return-value]

    def save_pretrained(self, folder: str | os.PathLike[str], config_file_name: str = FILE) -> None:
        """Write the fields that are set, all or nothing, so that `transformers` reads them too."""
        self.validate(())
        if self.constraints is not None:
            raise GenerationError(
                "`constraints` must be None in a file, since they are objects (`force_words_ids` says the same in "
                f"ids), but is {self.constraints!r}."
            )
        with folders.saving(folder) as staged:
            folders.write_json(staged / config_file_name, _plain(self.to_diff_dict()))

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in self.to_dict().items() if name not in METADATA}


def _plain(value: Any) -> Any:
    """The value in JSON's words: the token tuples that key `sequence_bias` become pairs, as its other spelling has."""
    if isinstance(value, (WatermarkingConfig, QuantizedCacheConfig)):
        return value.to_dict()
    if isinstance(value, Mapping):
        if any(isinstance(key, tuple) for key in value):
            return [[list(key), bias] for key, bias in value.items()]
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
