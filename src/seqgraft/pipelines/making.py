"""`pipeline(task, model=...)`: from names and folders to a pipeline."""

import logging
import os
from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.folders import Origin, find
from seqgraft.pipelines import compiled
from seqgraft.pipelines.default import default_model, told
from seqgraft.pipelines.device import as_device
from seqgraft.pipelines.tasks import pipeline_class
from seqgraft.pipelines.text2text import Text2TextGenerationPipeline

logger = logging.getLogger("seqgraft.pipelines")
_ADAPTERS = "adapter/adapter_config.json"


def pipeline(
    task: str | None = None,
    model: Any = None,
    tokenizer: Any = None,
    device: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    device_map: Any = None,
    framework: str | None = None,
    model_kwargs: dict[str, Any] | None = None,
    config: Any = None,
    revision: str | None = None,
    token: str | bool | None = None,
    use_fast: bool = True,
    trust_remote_code: bool | None = None,
    **options: Any,
) -> Text2TextGenerationPipeline:
    """Make the pipeline of a task.

    Args:
        task: `summarization`, `translation`, `translation_xx_to_yy` or `text2text-generation`.
        model: a folder, the name of a hub repository, or a pair with its `tokenizer`. Without one `summarization` takes
            the summarizer that comes with the package (`default.FOLDER`) in float32, which reads the beginning of a
            text that is too long, and a warning says so.
        tokenizer: a folder, a name or a tokenizer; by default the model's folder holds it.
        device: a number (-1 is the CPU), a name or a torch.device; by default a GPU when there is one, and for a model
            object the place where it is.
        dtype: of the weights (`torch_dtype` is its old name); by default the checkpoint's. With Flax it is that of the
            computation, by default float32.
        framework: `pt` (by default), `flax` or `tf`, whichever wrote the folder; a model object says it itself.
        model_kwargs: more arguments of `from_pretrained`.
        options: `batch_size` and what else every call does; see `Text2TextGenerationPipeline`. An `assistant_model`
            may be a folder or a name as well: its tokenizer is used where its vocabulary is another one.

    Raises ConfigurationError for a task that is none of these, or without a model where the task has none; TypeError
    for unknown options; MissingExtraError when Flax or TensorFlow is not installed.
    """
    kind = pipeline_class(task)
    if framework not in (None, *compiled.FRAMEWORKS):
        known = ", ".join(map(repr, compiled.FRAMEWORKS))
        raise ConfigurationError(f"`framework` must be one of {known}, but is {framework!r}.")
    if device is not None and device_map is not None:
        raise ConfigurationError("`device` and `device_map` say the same thing: pass one of them.")
    if model is None:
        model = default_model(str(task))
        dtype = "float32" if dtype is None and torch_dtype is None else dtype
        options.setdefault("truncation", True)
        logger.warning("%s", told(str(task)))
    named = isinstance(model, str | os.PathLike)
    more = {"dtype": dtype if dtype is not None else torch_dtype, "config": config, "revision": revision}
    more |= {"token": token, "trust_remote_code": trust_remote_code}
    more = {name: value for name, value in more.items() if value is not None} | (model_kwargs or {})
    if tokenizer is None:
        tokenizer = model if named else getattr(model.config, "name_or_path", None)
        if not tokenizer:
            raise ConfigurationError("`tokenizer` must be given with a model object that was not loaded from a folder.")
    origin = {name: more[name] for name in Origin.__dataclass_fields__ if name in more}
    if isinstance(tokenizer, str | os.PathLike):
        from seqgraft.text import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tokenizer, use_fast=use_fast, **origin)
    if not named and framework not in (None, compiled.framework_of(model)):
        own = compiled.framework_of(model)
        raise ConfigurationError(
            f"`framework` must be left out or {own!r} with a {type(model).__name__}, but is {framework!r}."
        )
    framework = compiled.framework_of(model) if framework is None else framework
    if framework != "pt" and options.get("assistant_model") is not None:
        raise ConfigurationError(f"`assistant_model` must be None with framework={framework!r}: its search drafts not.")
    if named and framework != "pt":
        if device_map not in (None, "auto"):
            raise ConfigurationError(
                f"`device_map` must be left out with framework={framework!r}, but is {device_map!r}: pass `device`."
            )
        if find(model, _ADAPTERS, Origin(**origin)) is not None:
            raise ConfigurationError(
                f"'{os.fspath(model)}' keeps adapters beside its weights, which framework={framework!r} does not read: "
                'merge them first (`save="merged"` of the training).'
            )
        model = compiled.load(framework, model, device, more)
    elif named:
        from seqgraft.torch.auto import AutoModelForSeq2SeqLM

        where = as_device(device) if device is not None else device_map if device_map is not None else "auto"
        source, model = model, AutoModelForSeq2SeqLM.from_pretrained(model, **{"device_map": where, **more})
        _adapt(model, source, Origin(**origin))
    else:
        given = sorted(set(more) - {"revision", "token"})
        if given:
            raise ConfigurationError(f"{', '.join(given)} must be left out with a model object, which has its own.")
        device = device if device is not None else device_map
    if isinstance(options.get("assistant_model"), str | os.PathLike):
        options |= _assistant(options["assistant_model"], getattr(tokenizer, "target", tokenizer), model.device, more)
    return kind(model, tokenizer, task=task, device=None if named else device, **options)


def _adapt(model: Any, source: str | os.PathLike[str], origin: Origin) -> None:
    """Add the adapters that a folder keeps beside its weights (`train` with `lora` and `save="separate"`)."""
    if find(source, _ADAPTERS, origin) is not None:
        from seqgraft.training.adapters import take_in_own

        take_in_own(model, source, origin)


def _assistant(source: str | os.PathLike[str], tokenizer: Any, device: Any, how: dict[str, Any]) -> dict[str, Any]:
    """The options that an assistant's folder or name stands for; its tokenizer unless the targets' is the same."""
    from seqgraft.config import AutoConfig
    from seqgraft.text import AutoTokenizer
    from seqgraft.torch.auto import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    config = AutoConfig.from_pretrained(source)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    dtype = {"dtype": how["dtype"]} if "dtype" in how else {}
    made = {"assistant_model": kind.from_pretrained(source, config=config, device_map=device, **dtype)}
    own = AutoTokenizer.from_pretrained(source)
    if getattr(own, "target", own).get_vocab() != tokenizer.get_vocab():
        made["assistant_tokenizer"] = own
    return made
