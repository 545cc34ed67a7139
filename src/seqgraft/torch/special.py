"""The special ids of a pair: found in its tokenizers where nobody has set them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seqgraft.errors import ConfigurationError

if TYPE_CHECKING:
    from seqgraft.config import EncoderDecoderConfig
    from seqgraft.torch.model import EncoderDecoderModel

_SOURCES = {
    "decoder_start_token_id": ("bos_token", "cls_token"),
    "eos_token_id": ("eos_token", "sep_token"),
    "pad_token_id": ("pad_token", "unk_token", "eos_token"),
}
"""The tokens of the target tokenizer whose ids a special id is taken from, the first that it has."""


def settle(model: EncoderDecoderModel, source: Any, target: Any) -> str | None:
    """Set `decoder_start_token_id`, `eos_token_id` and `pad_token_id` of `model.config` where it knows none.

    What is set, on the pair or on its decoder, is kept. The start is the target tokenizer's bos or cls token (else
    the decoder's own bos id), the end its eos or sep token, padding its pad token. Where it has none, the unknown
    token serves if it is not the end as well, or else the end itself (GPT-2): labels are padded with -100 and never
    by their id, no mask is inferred from an end token, and finished rows are filled with it, which is cut when they
    are decoded. The encoder's pad id follows the source tokenizer, when that differs and the encoder knows none.

    Returns one line that says what was set and from what, or None. Raises ConfigurationError when a tokenizer has
    none of those tokens, and for an id that the decoder's table has no row for.
    """
    told = []
    rows = int(model.decoder.get_input_embeddings().weight.shape[0])
    for name, tokens in _SOURCES.items():
        if model.config.special(name) is not None or (name == "decoder_start_token_id" and model.config.wraps):
            continue
        held = [(token, getattr(target, f"{token}_id", None)) for token in tokens]
        found = [(token, index) for token, index in held if index is not None]
        if name == "pad_token_id":
            found = [one for one in found if one[0] != "unk_token" or one[1] not in _taken(model, target)]
        elif name == "decoder_start_token_id" and model.config.decoder.bos_token_id is not None:
            found.append(("the decoder's bos_token_id", model.config.decoder.bos_token_id))
        if not found:
            named = " or ".join(f"`{token}`" for token in tokens)
            raise ConfigurationError(
                f"`model.config.{name}` must be set, or the target tokenizer must have a {named}, but neither is so."
            )
        token, index = found[0]
        if not 0 <= index < rows:
            raise ConfigurationError(
                f"`{name}` must be an id of the decoder's vocabulary ({rows:,}), but the target tokenizer's {token} "
                f"is {index}: give every token a row with model.decoder.resize_token_embeddings(len(tokenizer))."
            )
        setattr(model.config, name, index)
        told.append(f"{name} = {index} ({token})")
    own = getattr(source, "pad_token_id", None)
    if own is None and source is not None and source is not target and (found_pad := pad_token(source)) is not None:
        own = source.convert_tokens_to_ids(str(found_pad[0]))  # or the target's padding would hide a word of the source
    if own is not None and model.config.encoder.pad_token_id is None and own != model.config.special("pad_token_id"):
        model.config.encoder.pad_token_id = own
        told.append(f"encoder.pad_token_id = {own} (the source's pad_token)")
    return f"Special ids taken from the tokenizer: {', '.join(told)}." if told else None


def language_start(model: EncoderDecoderModel, target: Any) -> tuple[str, int] | None:
    """(setting, id) that makes generation begin in the target tokenizer's `tgt_lang`, as its targets do; None where it
    says no language, or frames none that a decoder could begin with.

    A language that stands first is the first token written (mBART-50, M2M-100, NLLB: `forced_bos_token_id`); one that
    stands last goes before the first where labels are wrapped (mBART: `decoder_start_token_id`).
    """
    code = getattr(target, "options", {}).get("tgt_lang")
    if code is None or not hasattr(target, "get_lang_id"):
        return None
    index, framed = target.get_lang_id(code), target(text_target="")["input_ids"]
    if framed and framed[0] == index:
        return "forced_bos_token_id", index
    return ("decoder_start_token_id", index) if framed and framed[-1] == index and model.config.wraps else None


def started(model: EncoderDecoderModel, name: str) -> int | None:
    """What generation takes for a setting that `language_start` names."""
    said: int | None = getattr(model.generation_config, name, None)
    return model.config.special(name) if said is None and name == "decoder_start_token_id" else said


def settle_language(model: EncoderDecoderModel, target: Any) -> str | None:
    """Let generation begin in the target tokenizer's `tgt_lang`; one line that says so, or None."""
    found = language_start(model, target)
    if found is None or started(model, found[0]) == found[1]:
        return None
    name, index = found
    setattr(model.generation_config, name, index)
    if name == "decoder_start_token_id":
        model.config.decoder_start_token_id = index
    return f"Targets are in {target.tgt_lang}: generation begins with {name} = {index}."


def _taken(model: EncoderDecoderModel, target: Any) -> set[int]:
    """Ids that start or end a target, so that padding with them would be read as that."""
    own = [value for name in ("decoder_start_token_id", "eos_token_id") for value in many(model.config.special(name))]
    theirs = [getattr(target, f"{name}_token_id", None) for name in ("bos", "eos", "cls", "sep")]
    return {*own, *(value for value in theirs if value is not None)}


def pad_token(tokenizer: Any) -> tuple[str, str] | None:
    """(token, what it is) that pads for a tokenizer without padding: its unknown token, unless that starts or ends
    texts too, else its end; None when it pads already or has neither."""
    if tokenizer.pad_token is not None:
        return None
    frame = {getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "cls", "sep")}
    if tokenizer.unk_token is not None and tokenizer.unk_token_id not in frame:
        return tokenizer.unk_token, "its unknown token"
    return None if tokenizer.eos_token is None else (tokenizer.eos_token, "its end")


def effective_source_pad(config: EncoderDecoderConfig) -> int | None:
    """The id that padding of a source is recognised by."""
    own = getattr(config.encoder, "pad_token_id", None)
    found: int | None = own if own is not None else config.special("pad_token_id")
    return found


def many(value: Any) -> list[int]:
    """One id, several or none, as a list."""
    return [] if value is None else [int(v) for v in value] if isinstance(value, (list, tuple)) else [int(value)]
