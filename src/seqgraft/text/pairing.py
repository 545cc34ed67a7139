"""Two vocabularies: one tokenizer for the sources, one for the targets."""

import os
from pathlib import Path
from typing import Any

from seqgraft.errors import TokenizerError
from seqgraft.folders import saving
from seqgraft.text.encoding import BatchEncoding
from seqgraft.text.files import CONFIG, SPECIAL, TARGET, WHOLE, write
from seqgraft.text.tokenizer import Tokenizer

_SOURCE = frozenset(("encode", "tokenize", "pad", "model_input_names", "model_max_length", "padding_side", "src_lang"))
_BOTH = frozenset(("padding_side", "truncation_side", "clean_up_tokenization_spaces"))


class PairTokenizer:
    """Reads sources with `source`, reads and writes targets with `target`.

    `pair(text=..., text_target=...)` gives the source's rows and the target's ids as `labels`; `decode` and the special
    ids are the target's, because that is what a model generates; `pad` is the source's, because that is what it reads.
    """

    is_fast = True

    def __init__(self, source: Tokenizer, target: Tokenizer) -> None:
        for name, tokenizer in (("source", source), ("target", target)):
            if not isinstance(tokenizer, Tokenizer):
                raise TokenizerError(f"`{name}` must be a tokenizer, but is a {type(tokenizer).__name__}.")
        self.source = source
        self.target = target

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        *,
        max_length: int | None = None,
        max_target_length: int | None = None,
        **options: Any,
    ) -> BatchEncoding:
        """As a Tokenizer's call; `text_target` goes through the target tokenizer."""
        if text is None and text_target is None:
            raise TokenizerError("A tokenizer must be given `text`, `text_target` or both, but has neither.")
        target = None
        if text_target is not None:
            length = max_length if max_target_length is None else max_target_length
            framed = {"text_target": text_target, "text_pair_target": text_pair_target}
            target = self.target(**framed, max_length=length, **options)
            if text is None:
                return target
        source = self.source(text, text_pair, max_length=max_length, **options)
        if target is not None:
            source["labels"] = target["input_ids"]
        return source

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("source", "target"):
            raise AttributeError(name)
        side = self.source if name in _SOURCE else self.target
        return getattr(side, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("source", "target"):
            object.__setattr__(self, name, value)
            return
        sides = (self.source, self.target) if name in _BOTH else (self.source if name in _SOURCE else self.target,)
        for side in sides:
            setattr(side, name, value)

    def __len__(self) -> int:
        return len(self.target)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"PairTokenizer(source={self.source!r}, target={self.target!r})"

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *, use_fast: bool = True, **arguments: Any
    ) -> "PairTokenizer":
        """The two tokenizers of a folder; constructor options apply to both, a language to the side that it is of.

        Raises TokenizerError for a language of a side whose tokenizer has none.
        """
        from seqgraft.text.auto import AutoTokenizer

        folder = pretrained_model_name_or_path
        said = {name: arguments.pop(name) for name in ("src_lang", "tgt_lang") if name in arguments}
        target = AutoTokenizer.from_pretrained(folder, **{**arguments, "subfolder": TARGET})
        arguments = {**arguments, "subfolder": "."}
        made = cls(AutoTokenizer.from_pretrained(folder, **arguments), target)
        for name, side, code in (
            ("src_lang", made.source, said.get("src_lang")),
            ("tgt_lang", target, said.get("tgt_lang")),
        ):
            if code is None:
                continue
            if name not in side.options:
                raise TokenizerError(
                    f"`{name}` must be left out, since the {type(side).__name__} of that side has no languages, but is "
                    f"{code!r}."
                )
            setattr(side, name, code)
        return made

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> tuple[str, ...]:
        """Write the source's files, and the target's into `target_tokenizer/`, all or none; returns their paths."""
        with saving(save_directory) as place:
            write(self.source, place)
            (place / TARGET).mkdir()
            write(self.target, place / TARGET)
        folder = Path(save_directory).expanduser()
        names = (CONFIG, SPECIAL, WHOLE)
        return tuple(str(place / name) for place in (folder, folder / TARGET) for name in names)


def pair(source: Tokenizer, target: Tokenizer) -> Tokenizer | PairTokenizer:
    """The two as a pair, or `source` alone when both are the same tokenizer."""
    if source is target or same(source, target):
        return source
    return PairTokenizer(source, target)


def same(first: Tokenizer, second: Tokenizer) -> bool:
    """Whether two tokenizers give the same ids, masks and texts for everything."""
    return (
        list(first.model_input_names) == list(second.model_input_names)
        and first.special_tokens_map == second.special_tokens_map
        and first.extra_special_tokens == second.extra_special_tokens
        and len(first) == len(second)
        and first.padding_side == second.padding_side
        and first.clean_backend().to_str() == second.clean_backend().to_str()
    )
