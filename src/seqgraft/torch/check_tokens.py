"""Do ids, tables, lengths and ties mean in the model what they mean in its tokenizers?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seqgraft.spec import Stack
from seqgraft.torch.report import Finding
from seqgraft.torch.special import effective_source_pad, language_start, many, started
from seqgraft.torch.tying import shared_names

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

_IDS = ("decoder_start_token_id", "pad_token_id", "eos_token_id")
_ROLES = {
    "decoder_start_token_id": ("bos_token_id", "cls_token_id", "pad_token_id", "eos_token_id", "sep_token_id"),
    "eos_token_id": ("eos_token_id", "sep_token_id"),
    "pad_token_id": ("pad_token_id",),
}
"""What a tokenizer may call the token that a model uses so; any other special token may start as well."""
_NO_BOUND = 10**9


def sides(tokenizer: Any, target_tokenizer: Any) -> tuple[Any, Any]:
    """(what reads the sources, what writes the targets), from one for both, from a pair of them, or from two."""
    source, target = getattr(tokenizer, "source", tokenizer), getattr(tokenizer, "target", tokenizer)
    return source, target if target_tokenizer is None else target_tokenizer


def special_ids(model: EncoderDecoderModel, source: Any, target: Any) -> Finding:
    """The ids exist, lie inside their vocabularies, and are in the tokenizers what they are in the model."""
    config, wrong = model.config, []
    rows = int(model.decoder.get_input_embeddings().weight.shape[0])
    for name in _IDS:
        values = many(config.special(name))
        if not values and not (name == "decoder_start_token_id" and config.wraps):
            wrong.append(f"{name} is not set")
        wrong += [f"{name} is {v}, outside the vocabulary of {rows:,}" for v in values if not 0 <= v < rows]
        said = many(getattr(model.generation_config, name, None))
        if said and said != values:
            wrong.append(f"{name} is {_shown(values)} in the configuration, but {_shown(said)} for generation")
        if target is not None and values:
            wrong += _meaning(name, values, target)
    wrong += _source_pad(model, source)
    begins = language_start(model, target)
    if begins is not None and started(model, begins[0]) != begins[1]:
        wrong.append(
            f"targets are in {target.tgt_lang}, but generation begins elsewhere: {begins[0]} must be {begins[1]}, but "
            f"is {started(model, begins[0])} (set `model.generation_config.{begins[0]}`)"
        )
    told = ", ".join(f"{name.removesuffix('_token_id')} {_shown(many(config.special(name)))}" for name in _IDS)
    remark = "" if target is not None else "; no tokenizer was given to ask what they mean"
    if not wrong:
        return Finding("special ids", True, told + remark)
    advice = (
        "Set them with `model.config.decoder_start_token_id = tokenizer.bos_token_id` and so on (BERT: cls and sep), "
        "or compose with the tokenizers, which sets them."
    )
    return Finding("special ids", False, "; ".join(wrong), advice)


def _meaning(name: str, values: list[int], tokenizer: Any) -> list[str]:
    """What is wrong with an id as the target tokenizer sees it."""
    roles = {role: getattr(tokenizer, role, None) for role in _ROLES[name]}
    known = {value for value in roles.values() if value is not None}
    if name == "decoder_start_token_id":
        known |= {value for value in getattr(tokenizer, "all_special_ids", ()) if value is not None}
    if not known or known & set(values):
        return []
    has = ", ".join(f"{role} {value}" for role, value in roles.items() if value is not None)
    return [f"{name} is {_shown(values)} in the model, but the target tokenizer has {has or 'no such special token'}"]


def _source_pad(model: EncoderDecoderModel, source: Any) -> list[str]:
    """Padding of sources is hidden by its id where a call brings no mask."""
    pad, table = effective_source_pad(model.config), model.encoder.get_input_embeddings()
    own = getattr(source, "pad_token_id", None)
    if own is not None and pad is not None and own != pad:
        return [
            f"sources are padded with {own} by their tokenizer, but the model takes {pad} for padding "
            f"(set `model.config.encoder.pad_token_id = {own}`)"
        ]
    if model.config.encoder.pad_token_id is not None and table is not None and not 0 <= (pad or 0) < len(table.weight):
        return [f"encoder.pad_token_id is {pad}, outside the source vocabulary of {len(table.weight):,}"]
    return []


def vocabularies(model: EncoderDecoderModel, source: Any, target: Any) -> Finding:
    """Every token of a tokenizer has a row, and a half's tables are as large as its configuration says."""
    wrong, told = [], []
    halves: tuple[tuple[str, Any, Any], ...] = (("source", model.encoder, source), ("target", model.decoder, target))
    for side, half, tokenizer in halves:
        table = half.get_input_embeddings()
        if table is None:
            told.append(f"{side}: the table is not known")
            continue
        rows, spec = int(table.weight.shape[0]), getattr(half, "spec", None)
        output = half.get_output_embeddings() if side == "target" else None
        if spec is not None and rows != spec.vocabulary:
            wrong.append(f"the {side} table has {rows:,} rows, but its configuration says {spec.vocabulary:,}")
        if output is not None and int(output.weight.shape[0]) != rows:
            wrong.append(f"the output table has {int(output.weight.shape[0]):,} rows, but the input table {rows:,}")
        tokens = None if tokenizer is None else _tokens(tokenizer)
        if tokens is not None and tokens > rows:
            wrong.append(f"the {side} tokenizer has {tokens:,} tokens, but their table {rows:,} rows")
        told.append(f"{side}: {rows:,} rows" + ("" if tokens is None else f" for {tokens:,} tokens"))
    advice = (
        "Use the tokenizer that the model was trained with, or give every token a row: "
        "`model.encoder.resize_token_embeddings(len(tokenizer))`, or `model.decoder...`."
    )
    return Finding("vocabularies", not wrong, "; ".join(wrong or told), advice)


def _tokens(tokenizer: Any) -> int:
    """One more than the highest id, where the tokenizer tells; else how many tokens it has."""
    listed = tokenizer.get_vocab().values() if hasattr(tokenizer, "get_vocab") else ()
    return max(len(tokenizer), 1 + max(listed, default=-1))


def longest_texts(model: EncoderDecoderModel) -> Finding:
    """How long sources and targets may be, and whether generation keeps to it."""
    bounds = {"source": _longest(model.encoder), "target": _longest(model.decoder)}
    told = [f"{side}: {said}" for side, (_, said) in bounds.items()]
    hard, settings, wrong = bounds["target"][0], model.generation_config, []
    for name in ("max_length", "max_new_tokens"):
        asked = getattr(settings, name, None)
        if hard is not None and isinstance(asked, int) and asked > hard:
            wrong.append(f"`generation_config.{name}` is {asked}, but the decoder has positions for {hard:,} tokens")
    return Finding("longest texts", not wrong, "; ".join([*wrong, *told]), "Set it to what the decoder has room for.")


def _longest(half: Any) -> tuple[int | None, str]:
    """The bound that a longer text breaks, and what to tell of it."""
    spec: Stack | None = getattr(half, "spec", None)
    hard = [] if spec is None else [spec.positions.longest if spec.positions else None]
    bound = min([bound for bound in hard if bound is not None], default=None)
    if bound is not None:
        return bound, f"{bound:,} tokens"
    soft = getattr(half.config, "max_position_embeddings", None)
    return None, f"no bound, trained for {soft:,} tokens" if isinstance(soft, int) else "no bound is known"


def ties(model: EncoderDecoderModel) -> Finding:
    """What is declared to be one table is one."""
    wrong, told = [], []
    head = model.decoder.head
    if head is not None and head.spec.tied:
        told.append("the output table is the decoder's input table")
        if head.output.weight is not model.decoder.embed.weight:
            wrong.append("the output table must be the decoder's input table, but is one of its own")
    shared = [] if getattr(model.encoder, "spec", None) is None else shared_names(
        model.config, model.encoder, model.decoder
    )  # fmt: skip
    apart = [n for n in shared if model.encoder.get_parameter(n) is not model.decoder.get_parameter(n)]
    if shared:
        told.append(f"the halves share {len(shared)} tensors")
    if apart:
        wrong.append(f"the halves must share {len(shared)} tensors, but {len(apart)} are apart ({apart[0]}, ...)")
    advice = "Call `model.tie_weights()`, or declare them untied (`tie_word_embeddings`, `tie_encoder_decoder`)."
    return Finding("ties", not wrong, "; ".join(wrong or told) or "none are declared", advice)


def _shown(values: list[int]) -> str:
    return " and ".join(map(str, values)) or "not set"
