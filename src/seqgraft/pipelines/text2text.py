"""Texts -> rows -> a pair's `generate` -> texts."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from seqgraft.config import longest_source
from seqgraft.errors import ConfigurationError, GenerationError, TokenizerError
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.generation import GenerationConfig
from seqgraft.generation.fields import PUBLISHED
from seqgraft.pipelines import compiled
from seqgraft.pipelines.asked import Asked
from seqgraft.pipelines.device import as_device
from seqgraft.pipelines.languages import languages

logger = logging.getLogger("seqgraft.pipelines")
_framing = threading.RLock()

_PASSED = (
    "assistant_model",
    "assistant_tokenizer",
    "generation_config",
    "logits_processor",
    "prefix_allowed_tokens_fn",
    "stopping_criteria",
    "streamer",
)
"""Arguments of `generate` that are no settings."""
_READING = (
    "stop_strings",
    "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size",
    "prompt_lookup_num_tokens",
    "assistant_tokenizer",
)
"""What `generate` needs the tokenizer for."""
_LENGTHS = ("max_length", "max_new_tokens")


class Text2TextGenerationPipeline:
    """Texts -> texts with a pair: `[{"generated_text": ...}]`.

    A pair of Flax or TensorFlow is recognised: its `generate` is one program, compiled for each shape that it meets, so
    that its sources are filled up to a multiple of 32 tokens (`compiled.MULTIPLE`) and its rows to a power of two;
    neither changes a result. Settings that such a search does not have raise GenerationError by name. It takes `seed`,
    which a call's batches draw from, each its own, and in TensorFlow `jit_compile`.

    Args:
        model: a pair, of PyTorch, Flax (`FlaxEncoderDecoderModel`) or TensorFlow (`TFEncoderDecoderModel`).
        tokenizer: its tokenizer, or a PairTokenizer when its vocabularies differ.
        task: the name under which the configuration's `task_specific_params` may hold settings.
        options: what every call does unless it says otherwise: `batch_size`, `truncation`, `return_text`,
            `return_tensors`, `clean_up_tokenization_spaces`, `stop_sequence`, and all settings of `generate`; with a
            tokenizer of many languages `src_lang` and `tgt_lang`, which the task's name may say as well
            (`translation_en_to_de`): they frame the text and become `forced_bos_token_id`.
    """

    return_name: ClassVar[str] = "generated"
    default_task: ClassVar[str] = "text2text-generation"

    def __init__(
        self, model: Any, tokenizer: Any, *, task: str | None = None, device: Any = None, **options: Any
    ) -> None:
        if not getattr(model.config, "is_encoder_decoder", False) or not callable(getattr(model, "generate", None)):
            raise ConfigurationError(f"`model` must be an encoder-decoder model, but is a {type(model).__name__}.")
        self.model, self.tokenizer, self.task = model, tokenizer, task or self.default_task
        self.framework = compiled.framework_of(model)
        if device is not None and self.framework == "pt":
            model.to(as_device(device))
        elif device is not None:
            compiled.move(model, device)
        own = getattr(model.config, "task_specific_params", None) or {}
        own = {name: value for name, value in own.get(self.task, {}).items() if value is not None}
        self.prefix: str = own.pop("prefix", getattr(model.config, "prefix", None)) or ""
        self._told: set[str] = set()
        self._defaults = {name: value for name, value in own.items() if name in PUBLISHED}
        self._defaults = self._merged(options)
        self._asked({})

    @property
    def device(self) -> Any:
        """Where the model is: a torch.device, JAX's device, or the name of TensorFlow's."""
        return self.model.device if self.framework == "pt" else compiled.device_of(self.model)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the model and its tokenizer."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """A text -> a list of its records (several with `num_return_sequences`); a list of texts -> a list of records,
        or of lists of them; anything else that yields texts -> an iterator of lists of records, made as it is read.

        Raises TypeError for an unknown option, GenerationError for impossible settings and for a source that is longer
        than the encoder's positions when `truncation` is off.
        """
        asked = self._asked(options)
        self._told.clear()
        if isinstance(inputs, str):
            return self._records([inputs], asked)[0]
        if isinstance(inputs, list | tuple):
            made = self._records(inputs, asked)
            return [records[0] for records in made] if all(len(records) == 1 for records in made) else made
        if isinstance(inputs, Iterable) or hasattr(inputs, "__getitem__"):
            return self._lazily(iter(inputs), asked)
        raise TypeError(f"A pipeline takes a text, a list of texts or what yields texts, but got {inputs!r:.80}.")

    def _merged(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options of a call over the pipeline's; whichever length is said last replaces both."""
        kept = self._defaults
        if any(options.get(name) is not None for name in _LENGTHS):
            kept = {name: value for name, value in kept.items() if name not in _LENGTHS}
        return {**kept, **options}

    def _asked(self, options: dict[str, Any]) -> Asked:
        own = self.model.generation_config
        fields = {**Asked.__dataclass_fields__}
        del fields["settings"]
        merged = self._merged(options)
        chosen = {name: merged.pop(name) for name in list(merged) if name in fields}
        known = (*PUBLISHED, *_PASSED, *compiled.PASSED[self.framework])
        unknown = [name for name in merged if name not in known and not getattr(own, name, None)]
        if unknown:
            raise TypeError(f"{type(self).__name__} has no option {', '.join(map(repr, sorted(unknown)))}.")
        for name, other in (_LENGTHS, _LENGTHS[::-1]):
            if merged.get(name) is not None:
                merged.setdefault(other, None)  # the folder's own length is overruled, not in conflict
        asked = Asked(**{n: v for n, v in chosen.items() if v is not None}, settings=merged)
        if asked.stop_sequence is not None:
            merged["eos_token_id"] = self._stop_id(asked.stop_sequence)
        with _framing:
            found = languages(self.tokenizer, self.task, asked.src_lang, asked.tgt_lang)
        if found is None:
            return asked
        writes = getattr(self.tokenizer, "target", self.tokenizer)
        merged.setdefault("forced_bos_token_id", writes.get_lang_id(found[1]))
        return replace(asked, src_lang=found[0], tgt_lang=found[1])

    def _stop_id(self, text: str) -> int:
        tokenizer = getattr(self.tokenizer, "target", self.tokenizer)
        ids = tokenizer.encode(text, add_special_tokens=False)
        if not ids:
            raise GenerationError(f"`stop_sequence` must have at least one token, but {text!r} has none.")
        if len(ids) > 1:
            logger.warning("`stop_sequence` has %d tokens: generation stops at the first, %r.", len(ids), ids[0])
        return int(ids[0])

    def _lazily(self, texts: Iterator[Any], asked: Asked) -> Iterator[list[dict[str, Any]]]:
        batch: list[Any] = []
        done = 0
        for text in texts:
            batch.append(text)
            if len(batch) == asked.batch_size:
                yield from self._records(batch, asked, done)
                done += len(batch)
                batch = []
        if batch:
            yield from self._records(batch, asked, done)

    def _records(self, texts: Sequence[Any], asked: Asked, done: int = 0) -> list[list[dict[str, Any]]]:
        """The records of each text. Rows of like length run together; the order of the texts is kept."""
        for index, text in enumerate(texts, start=done):
            if not isinstance(text, str):
                raise TypeError(f"Input {asked.place(index)} must be a text, but is a {type(text).__name__}.")
        if not texts:
            return []
        self._check_ids(asked)
        with self._reading(asked.src_lang):
            rows = self._encoded(texts, asked, done)
        size = 1 if asked.settings.get("streamer") is not None else asked.batch_size
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"])) if size > 1 else range(len(rows))
        made: list[list[dict[str, Any]]] = [[] for _ in rows]
        with self._evaluating():
            for at in range(0, len(rows), size):
                places = order[at : at + size]
                batch = self._batch([rows[i] for i in places], asked, asked.place(done + at))
                for place, records in zip(places, batch, strict=True):
                    made[place] = records
        return made

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Inside, a model of PyTorch is in evaluation; the others have no such state."""
        if self.framework != "pt":
            yield
            return
        training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(training)

    @contextlib.contextmanager
    def _reading(self, language: str | None) -> Iterator[None]:
        """Inside, the tokenizer frames texts for this language, of no other thread; afterwards for its own again."""
        reads = getattr(self.tokenizer, "source", self.tokenizer)
        if language is None:
            yield
            return
        with _framing:
            before = reads.options["src_lang"]
            reads.src_lang = language
            try:
                yield
            finally:
                reads.src_lang = before

    def _encoded(self, texts: Sequence[str], asked: Asked, done: int) -> list[dict[str, list[int]]]:
        """A row of ids and its mask for each text, cut where asked and needed."""
        limit = self._limit()
        texts = [self.prefix + text for text in texts]
        rows = self._rows(texts, verbose=limit is None)
        for index, row in enumerate(rows):
            length = len(row["input_ids"])
            if limit is None or length <= limit:
                continue
            if not asked.cuts:
                raise GenerationError(
                    f"Input {asked.place(done + index)} has {length} tokens, but must have at most {limit}, the "
                    "encoder's positions: pass truncation=True to read its beginning, or split it."
                )
            logger.info("Input %d has %d tokens: the first %d are read.", asked.place(done + index), length, limit)
            truncation = True if asked.truncation is True else asked.truncation
            rows[index] = self._rows([texts[index]], truncation=truncation, max_length=limit)[0]
        return rows

    def _rows(self, texts: Sequence[str], **how: Any) -> list[dict[str, list[int]]]:
        made = self.tokenizer(list(texts), **how)
        masks = made["attention_mask"] if "attention_mask" in made else [[1] * len(ids) for ids in made["input_ids"]]
        return [{"input_ids": ids, "attention_mask": mask} for ids, mask in zip(made["input_ids"], masks, strict=True)]

    def _limit(self) -> int | None:
        """The longest source, in tokens."""
        config = self.model.config.encoder
        if isinstance(config, PretrainedConfig):
            return longest_source(config)
        limit: int | None = getattr(config, "max_position_embeddings", None)
        return limit

    def _batch(self, rows: list[dict[str, list[int]]], asked: Asked, number: int) -> Iterator[list[dict[str, Any]]]:
        settings = self._settings(asked)
        for row in rows:
            self._check_lengths(len(row["input_ids"]), settings)
        source = getattr(self.tokenizer, "source", self.tokenizer)
        if len(rows) > 1 and source.pad_token_id is None:
            raise TokenizerError(
                "`batch_size` must be 1 with a tokenizer that has no pad token; set one to batch texts."
            )
        found = self._found(source, rows, settings, asked.batch_size, number)
        for group in found.reshape(len(rows), -1, found.shape[-1]):
            yield [self._record(ids, asked) for ids in group]

    def _found(
        self, source: Any, rows: list[dict[str, list[int]]], settings: dict[str, Any], most: int, number: int
    ) -> Any:
        """What `generate` finds: tokens [rows * num_return_sequences, time], of PyTorch or of numpy."""
        if self.framework != "pt":
            ends, limit = self._special("eos_token_id", settings), self._limit()
            return compiled.sequences(
                self.model, source, rows, settings, most=most, limit=limit, ends=ends, number=number
            )
        batch = source.pad(rows, padding=len(rows) > 1, return_tensors="pt", return_attention_mask=True)
        found = self.model.generate(
            input_ids=batch["input_ids"].to(self.device),
            attention_mask=batch["attention_mask"].to(self.device),
            **settings,
        )
        return getattr(found, "sequences", found)

    def _settings(self, asked: Asked) -> dict[str, Any]:
        settings = dict(asked.settings)
        if self._special("pad_token_id", settings) is None and self.tokenizer.pad_token_id is not None:
            settings["pad_token_id"] = self.tokenizer.pad_token_id
        if self.framework == "pt" and any(self._special(name, settings) is not None for name in _READING):
            settings["tokenizer"] = self.tokenizer
        return settings

    def _record(self, ids: Any, asked: Asked) -> dict[str, Any]:
        record: dict[str, Any] = {}
        if asked.tensors:
            record[f"{self.return_name}_token_ids"] = (
                ids if self.framework == "pt" else compiled.tensor(self.model, ids)
            )
        if asked.text:
            record[f"{self.return_name}_text"] = self.tokenizer.decode(
                ids, skip_special_tokens=True, clean_up_tokenization_spaces=asked.clean_up_tokenization_spaces
            )
        return record

    def _special(self, name: str, settings: dict[str, Any]) -> Any:
        """A special id (or stop strings) as `generate` will find it."""
        config = self.model.config
        if name in settings:
            return settings[name]
        layers = (settings.get("generation_config"), self.model.generation_config, config, config.decoder)
        return next((v for v in (getattr(layer, name, None) for layer in layers) if v is not None), None)

    def _check_ids(self, asked: Asked) -> None:
        settings = asked.settings
        if all(self._special(name, settings) is None for name in ("decoder_start_token_id", "bos_token_id")):
            raise GenerationError(
                "`decoder_start_token_id` must be known, but neither the model nor the call has it: pass "
                "decoder_start_token_id=... (often the tokenizer's cls_token_id or bos_token_id), or set it in "
                "`model.config` and save the model again."
            )
        if self._special("eos_token_id", settings) is None:
            self._tell("eos", "No `eos_token_id` is set: every output runs to the greatest length.")

    def _length(self, name: str, settings: dict[str, Any]) -> int | None:
        """A length as the call, its configuration or the model says it."""
        if name in settings:
            length: int | None = settings[name]
            return length
        layers: tuple[GenerationConfig | None, ...] = (settings.get("generation_config"), self.model.generation_config)
        return next((v for v in (getattr(layer, name, None) for layer in layers) if v is not None), None)

    def _check_lengths(self, source: int, settings: dict[str, Any]) -> None:
        """Warn of lengths that are unusual for the task."""

    def _tell(self, what: str, message: str, *values: Any) -> None:
        """Warn once a call."""
        if what not in self._told:
            self._told.add(what)
            logger.warning(message, *values)
