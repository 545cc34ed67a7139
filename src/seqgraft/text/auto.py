"""Which tokenizer class a folder wants."""

import os
from typing import Any

from seqgraft.errors import FolderError, TokenizerError
from seqgraft.folders import Origin, find, read_json
from seqgraft.text import families, languages
from seqgraft.text.files import CONFIG, TARGET, WHOLE
from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer

_CLASSES: dict[str, type[Tokenizer]] = {
    "BartTokenizer": families.RobertaTokenizer,
    "BertTokenizer": families.BertTokenizer,
    "CamembertTokenizer": families.CamembertTokenizer,
    "DistilBertTokenizer": families.DistilBertTokenizer,
    "ElectraTokenizer": families.BertTokenizer,
    "GPT2Tokenizer": families.GPT2Tokenizer,
    "LlamaTokenizer": families.LlamaTokenizer,
    "M2M100Tokenizer": languages.M2M100Tokenizer,
    "MBart50Tokenizer": languages.MBart50Tokenizer,
    "MBartTokenizer": languages.MBartTokenizer,
    "NllbTokenizer": languages.NllbTokenizer,
    "PLBartTokenizer": languages.PLBartTokenizer,
    "PreTrainedTokenizer": Tokenizer,
    "PreTrainedTokenizerFast": Tokenizer,
    "PythonBackend": Tokenizer,
    "Qwen2Tokenizer": families.Qwen2Tokenizer,
    "RobertaTokenizer": families.RobertaTokenizer,
    "Tokenizer": Tokenizer,
    "TokenizersBackend": Tokenizer,
    "XLMRobertaTokenizer": families.XLMRobertaTokenizer,
}

_MODEL_TYPES: dict[str, type[Tokenizer]] = {
    "bart": families.RobertaTokenizer,
    "bert": families.BertTokenizer,
    "camembert": families.CamembertTokenizer,
    "distilbert": families.DistilBertTokenizer,
    "electra": families.BertTokenizer,
    "gpt2": families.GPT2Tokenizer,
    "llama": families.LlamaTokenizer,
    "m2m_100": languages.M2M100Tokenizer,
    "mbart": languages.MBartTokenizer,
    "mistral": families.LlamaTokenizer,
    "opt": families.GPT2Tokenizer,
    "plbart": languages.PLBartTokenizer,
    "qwen2": families.Qwen2Tokenizer,
    "qwen3": families.Qwen2Tokenizer,
    "roberta": families.RobertaTokenizer,
    "xlm-roberta": families.XLMRobertaTokenizer,
}


_CODES: dict[str, type[Tokenizer]] = {
    "base": languages.PLBartTokenizer,
    "m2m100": languages.M2M100Tokenizer,
    "multi": languages.PLBartTokenizer,
    "wmt21": languages.M2M100Tokenizer,
}
"""What `language_codes` says, which these classes alone have."""


class AutoTokenizer:
    """`AutoTokenizer.from_pretrained(name)`: the tokenizer of a folder or repository, of the class that it names."""

    def __init__(self) -> None:
        raise TokenizerError("AutoTokenizer must be used as `AutoTokenizer.from_pretrained(name)`, but was called.")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *, use_fast: bool = True, **arguments: Any
    ) -> Any:
        """The tokenizer, or a PairTokenizer when the folder holds one for each side.

        Takes `revision`, `cache_dir`, `token`, `local_files_only`, `subfolder`, and any constructor option of the
        class (`pad_token="<pad>"`, `model_max_length=512`, ...). The class is what tokenizer_config.json says, else
        what config.json's `model_type` means, else what the files allow.

        Raises FolderError when there is no such folder, TokenizerError when it holds no tokenizer, TypeError for an
        unknown argument.
        """
        source = pretrained_model_name_or_path
        origin = Origin.take(dict(arguments))
        if not origin.subfolder and _has_target(source, origin):
            return PairTokenizer.from_pretrained(source, **arguments)
        return _class(source, origin).from_pretrained(source, **arguments)


def _has_target(source: str | os.PathLike[str], origin: Origin) -> bool:
    return find(source, f"{TARGET}/{WHOLE}", origin) is not None


def _class(source: str | os.PathLike[str], origin: Origin) -> type[Tokenizer]:
    """The class that the folder names, or that its files allow."""
    config_path = find(source, CONFIG, origin)
    config = {} if config_path is None else read_json(config_path)
    named = config.get("tokenizer_class")
    model_path = find(source, "config.json", origin)
    model = {} if model_path is None else read_json(model_path)
    named = named or model.get("tokenizer_class")
    whole = find(source, WHOLE, origin) is not None
    if config.get("language_codes") in _CODES:
        return _CODES[config["language_codes"]]
    if isinstance(named, str):
        name = named.removesuffix("Fast") if named != "PreTrainedTokenizerFast" else named
        if name in _CLASSES:
            return _CLASSES[name]
        if not whole:
            raise TokenizerError(
                f"'{source}' names the tokenizer class {named}, which must come with {WHOLE}; without that file only "
                f"{', '.join(sorted(set(_CLASSES) - {'Tokenizer', 'PythonBackend', 'TokenizersBackend'}))} are built."
            )
        return Tokenizer
    if model.get("model_type") == "encoder-decoder" and isinstance(model.get("encoder"), dict):
        model = model["encoder"]
    if model.get("model_type") in _MODEL_TYPES:
        return _MODEL_TYPES[model["model_type"]]
    return Tokenizer if whole else _by_files(source, origin)


def _by_files(source: str | os.PathLike[str], origin: Origin) -> type[Tokenizer]:
    if find(source, "merges.txt", origin) is not None:
        vocab = find(source, "vocab.json", origin)
        if vocab is None:
            raise FolderError(f"'{source}' holds merges.txt, so it must hold vocab.json too, but does not.")
        return families.RobertaTokenizer if "<s>" in read_json(vocab) else families.GPT2Tokenizer
    if find(source, "vocab.txt", origin) is not None:
        return families.BertTokenizer
    if find(source, "sentencepiece.bpe.model", origin) is not None:
        return families.XLMRobertaTokenizer
    return Tokenizer
