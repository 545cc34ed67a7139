"""Which languages one call of a pipeline translates between."""

from typing import Any

from seqgraft.errors import ConfigurationError, TokenizerError


def languages(tokenizer: Any, task: str, source: str | None, target: str | None) -> tuple[str, str] | None:
    """(source, target) as the tokenizers call them, or None where nobody says any: the model then writes what it
    was trained or set to write.

    What the call says goes over the task's name (`translation_en_to_de`), and that over the tokenizer's own `src_lang`
    and `tgt_lang`. ConfigurationError for a language that is unknown, for one without the other, and for any with a
    tokenizer that has none.
    """
    reads, writes = getattr(tokenizer, "source", tokenizer), getattr(tokenizer, "target", tokenizer)
    if not all(hasattr(one, "get_lang_id") for one in (reads, writes)):
        for name, said in (("src_lang", source), ("tgt_lang", target)):
            if said is not None:
                raise ConfigurationError(
                    f"`{name}` must be left out, since the tokenizer of this model has no languages (what it "
                    f"translates is what it was trained on), but is {said!r}."
                )
        return None
    words = task.split("_")
    if source is None and target is None and len(words) == 4 and words[0] == "translation":
        source, target = _meant(reads, words[1]), _meant(writes, words[3])
    source = reads.options["src_lang"] if source is None else source
    target = writes.options["tgt_lang"] if target is None else target
    if target is None and source == reads.options["src_lang"]:
        return None
    for name, said in (("src_lang", source), ("tgt_lang", target)):
        if said is None:
            raise ConfigurationError(f"`{name}` must be given, since the other language is, but is None.")
    for name, one, said in (("src_lang", reads, source), ("tgt_lang", writes, target)):
        try:
            one.get_lang_id(said)
        except TokenizerError as error:
            raise ConfigurationError(str(error).replace("`lang`", f"`{name}`")) from error
    return str(source), str(target)


def _meant(tokenizer: Any, name: str) -> str:
    """The one language that a short name means: `de` is mBART's `de_DE`; the name itself where none is."""
    codes = list(tokenizer.lang_code_to_id)
    if name in codes:
        return name
    alike = [code for code in codes if code.strip("_").startswith(f"{name}_")]
    return alike[0] if len(alike) == 1 else name
