"""A folder -> what a tokenizer is made from, in every layout of the field; a tokenizer -> a folder."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken

from seqgraft.errors import TokenizerError
from seqgraft.folders import Origin, find, read_json, saving, write_json
from seqgraft.text import sentencepiece
from seqgraft.text.recipe import Recipe, open_backend
from seqgraft.text.special import NAMES, parse

if TYPE_CHECKING:
    from seqgraft.text.tokenizer import Tokenizer

Source = str | os.PathLike[str]

CONFIG, WHOLE, SPECIAL, ADDED = (
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
TARGET = "target_tokenizer"  # where a pair keeps its second tokenizer
MODELS = ("sentencepiece.bpe.model", "tokenizer.model", "spiece.model")

# Fields of tokenizer_config.json that say how it was written, not what the tokenizer is. Paths in it are never
# followed, and `auto_map` names code, which is never run.
_DROPPED = frozenset(
    (
        *("added_tokens_decoder", "auto_map", "backend", "files_loaded", "is_local", "local_files_only", "max_len"),
        *("merges_file", "name_or_path", "special_tokens_map_file", "tokenizer_class", "tokenizer_file", "vocab_file"),
    )
)


def read(cls: "type[Tokenizer]", source: Source, origin: Origin, overrides: Mapping[str, Any]) -> Recipe:
    """Read a folder or hub repository for a tokenizer of class `cls`; the caller's `overrides` win.

    Raises FolderError when the folder cannot be read, TokenizerError when it holds no vocabulary for `cls`.
    """
    config = _optional(source, CONFIG, origin)
    whole = find(source, WHOLE, origin)
    recipe = Recipe(chosen=frozenset(overrides))
    if whole is not None:
        recipe.backend = open_backend(None, whole)
        config.pop("add_bos_token", None)  # the file's frame says it
        config.pop("add_eos_token", None)
    else:
        _bare(recipe, source, origin)
    if "added_tokens_decoder" in config:
        listed = config["added_tokens_decoder"]
        recipe.added = {int(index): _added(token) for index, token in listed.items()}
    else:
        _older(config, recipe, source, origin, overrides)

    known = cls.known_options()
    for name, value in {**config, **overrides}.items():
        if name in known:
            recipe.options[name] = _parsed(value)
        elif name.endswith("_token") and isinstance(parse(value), str | AddedToken):
            recipe.options.setdefault("extra_special_tokens", {})
            if isinstance(recipe.options["extra_special_tokens"], dict):
                recipe.options["extra_special_tokens"][name] = parse(value)
        elif name not in _DROPPED:
            recipe.carried[name] = value
    if config.get("max_len") is not None:
        recipe.options.setdefault("model_max_length", config["max_len"])
    flags = {str(token.content): token for token in _all_added(recipe)}
    for name in NAMES:  # a token keeps the flags that the files give it
        if isinstance(recipe.options.get(name), str):
            recipe.options[name] = flags.get(recipe.options[name], recipe.options[name])
    return recipe


def save(tokenizer: "Tokenizer", folder: Source) -> tuple[str, ...]:
    """Write a tokenizer's three files together; returns their paths."""
    with saving(folder, stale=(ADDED,)) as place:
        write(tokenizer, place)
    _forget_target(Path(folder).expanduser() / TARGET)
    return tuple(str(Path(folder).expanduser() / name) for name in (CONFIG, SPECIAL, WHOLE))


def _forget_target(old: Path) -> None:
    """Remove the files of a pair's second tokenizer, which would make the folder one of a pair."""
    for name in (WHOLE, CONFIG, SPECIAL):
        (old / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        old.rmdir()


def write(tokenizer: "Tokenizer", place: Path) -> None:
    """Write a tokenizer's files into an existing folder."""
    tokenizer.clean_backend().save(str(place / WHOLE))
    write_json(place / CONFIG, _config(tokenizer))
    special: dict[str, Any] = {name: _written(token) for name, token in tokenizer.named.items() if token is not None}
    if tokenizer.extra_special_tokens:
        special["additional_special_tokens"] = tokenizer.extra_special_tokens
    write_json(place / SPECIAL, special)


def _config(tokenizer: "Tokenizer") -> dict[str, Any]:
    standard = tokenizer.follows_its_family()
    named = dict(tokenizer.special_tokens_map)
    config: dict[str, Any] = {
        **tokenizer.carried,
        **(tokenizer.options if standard or tokenizer.keeps_options else {}),
        **{name: named.get(name) for name in NAMES},
        **{name: token for name, token in named.items() if name not in NAMES},
        "clean_up_tokenization_spaces": tokenizer.clean_up_tokenization_spaces,
        "model_input_names": list(tokenizer.model_input_names),
        "model_max_length": tokenizer.model_max_length,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        # A class of the field rebuilds its tokenizer by its own recipe, which must then give this one.
        "tokenizer_class": type(tokenizer).__name__ if standard else "PreTrainedTokenizerFast",
    }
    if tokenizer.split_special_tokens:
        config["split_special_tokens"] = True
    if tokenizer.extra_special_tokens:
        config["additional_special_tokens"] = tokenizer.extra_special_tokens
    return config


def _optional(source: Source, name: str, origin: Origin) -> dict[str, Any]:
    path = find(source, name, origin)
    return {} if path is None else read_json(path)


def _bare(recipe: Recipe, source: Source, origin: Origin) -> None:
    """The vocabulary of a folder without tokenizer.json."""
    words, merges = find(source, "vocab.json", origin), find(source, "merges.txt", origin)
    if words is not None and merges is not None:
        recipe.vocab, recipe.merges = words, merges
        return
    text = find(source, "vocab.txt", origin)
    if text is not None:
        recipe.vocab = text
        return
    model = next((path for path in (find(source, name, origin) for name in MODELS) if path is not None), None)
    if model is None:
        raise TokenizerError(
            f"'{source}' must hold a tokenizer: {WHOLE}, vocab.txt, vocab.json with merges.txt, or a SentencePiece "
            f"model ({', '.join(MODELS)}); it holds none of them."
        )
    recipe.pieces, recipe.vocab = sentencepiece.read(model), words


def _older(
    config: dict[str, Any], recipe: Recipe, source: Source, origin: Origin, overrides: Mapping[str, Any]
) -> None:
    """The files that said which tokens are special and added before tokenizer_config.json did."""
    for name, value in _optional(source, SPECIAL, origin).items():
        if overrides.get(name):
            continue
        if name == "extra_special_tokens" and isinstance(value, list):
            held = list(config.get(name) or [])
            config[name] = [*held, *(token for token in _parsed(value) if token not in held)]
        elif isinstance(value, dict) and name != "extra_special_tokens":
            config[name] = parse({**value, "special": True})
        else:
            config[name] = value
    special = {str(parse(config[name])) for name in NAMES if config.get(name)}
    special |= {str(overrides[name]) for name in NAMES if overrides.get(name)}
    for key in ("extra_special_tokens", "additional_special_tokens"):
        value = overrides.get(key) or config.get(key) or []
        special |= {str(_parsed(token)) for token in (value.values() if isinstance(value, dict) else value)}
    for text, index in _optional(source, ADDED, origin).items():
        if not isinstance(index, int):
            raise TokenizerError(f"{ADDED} must hold token -> id, but holds {text!r}: {index!r}.")
        recipe.added[index] = AddedToken(text, normalized=text not in special, special=text in special)


def _all_added(recipe: Recipe) -> list[AddedToken]:
    held = recipe.backend.get_added_tokens_decoder() if recipe.backend is not None else {}
    return [*held.values(), *recipe.added.values()]


def _added(token: Any) -> AddedToken:
    value = parse(token)
    if not isinstance(value, AddedToken):
        raise TokenizerError(f"`added_tokens_decoder` of {CONFIG} must hold tokens with flags, but holds {token!r}.")
    return value


def _parsed(value: Any) -> Any:
    """Tokens written as dictionaries -> AddedTokens, in lists and by name too."""
    if isinstance(value, list | tuple):
        return [_parsed(item) for item in value]
    if isinstance(value, dict):
        return parse(value) if "content" in value else {key: _parsed(item) for key, item in value.items()}
    return value


def _written(token: str | AddedToken) -> Any:
    """A token with flags of its own is written with them, any other as its text."""
    if isinstance(token, str) or not (token.lstrip or token.rstrip or token.single_word or token.normalized):
        return str(token)
    flags = token.__getstate__()
    return {name: flags[name] for name in ("content", "lstrip", "normalized", "rstrip", "single_word")}
