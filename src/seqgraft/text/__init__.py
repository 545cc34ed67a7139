"""Tokenizers: text -> ids -> text, over the `tokenizers` library; names load on first use."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqgraft.text.auto import AutoTokenizer
    from seqgraft.text.encoding import BatchEncoding, CharSpan, TokenSpan
    from seqgraft.text.families import (
        BartTokenizer,
        BartTokenizerFast,
        BertTokenizer,
        BertTokenizerFast,
        CamembertTokenizer,
        CamembertTokenizerFast,
        DistilBertTokenizer,
        DistilBertTokenizerFast,
        GPT2Tokenizer,
        GPT2TokenizerFast,
        LlamaTokenizer,
        LlamaTokenizerFast,
        Qwen2Tokenizer,
        Qwen2TokenizerFast,
        RobertaTokenizer,
        RobertaTokenizerFast,
        XLMRobertaTokenizer,
        XLMRobertaTokenizerFast,
    )
    from seqgraft.text.languages import (
        M2M100Tokenizer,
        MBart50Tokenizer,
        MBart50TokenizerFast,
        MBartTokenizer,
        MBartTokenizerFast,
        NllbTokenizer,
        NllbTokenizerFast,
        PLBartTokenizer,
    )
    from seqgraft.text.pairing import PairTokenizer, pair
    from seqgraft.text.tokenizer import PreTrainedTokenizer, PreTrainedTokenizerFast, Tokenizer

_HOME = {
    "AutoTokenizer": "auto",
    "BartTokenizer": "families",
    "BartTokenizerFast": "families",
    "BatchEncoding": "encoding",
    "BertTokenizer": "families",
    "BertTokenizerFast": "families",
    "CamembertTokenizer": "families",
    "CamembertTokenizerFast": "families",
    "CharSpan": "encoding",
    "DistilBertTokenizer": "families",
    "DistilBertTokenizerFast": "families",
    "GPT2Tokenizer": "families",
    "GPT2TokenizerFast": "families",
    "LlamaTokenizer": "families",
    "LlamaTokenizerFast": "families",
    "M2M100Tokenizer": "languages",
    "MBart50Tokenizer": "languages",
    "MBart50TokenizerFast": "languages",
    "MBartTokenizer": "languages",
    "MBartTokenizerFast": "languages",
    "NllbTokenizer": "languages",
    "NllbTokenizerFast": "languages",
    "PLBartTokenizer": "languages",
    "PairTokenizer": "pairing",
    "PreTrainedTokenizer": "tokenizer",
    "PreTrainedTokenizerFast": "tokenizer",
    "Qwen2Tokenizer": "families",
    "Qwen2TokenizerFast": "families",
    "RobertaTokenizer": "families",
    "RobertaTokenizerFast": "families",
    "TokenSpan": "encoding",
    "Tokenizer": "tokenizer",
    "XLMRobertaTokenizer": "families",
    "XLMRobertaTokenizerFast": "families",
    "pair": "pairing",
}

__all__ = [
    "AutoTokenizer",
    "BartTokenizer",
    "BartTokenizerFast",
    "BatchEncoding",
    "BertTokenizer",
    "BertTokenizerFast",
    "CamembertTokenizer",
    "CamembertTokenizerFast",
    "CharSpan",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "LlamaTokenizer",
    "LlamaTokenizerFast",
    "M2M100Tokenizer",
    "MBart50Tokenizer",
    "MBart50TokenizerFast",
    "MBartTokenizer",
    "MBartTokenizerFast",
    "NllbTokenizer",
    "NllbTokenizerFast",
    "PLBartTokenizer",
    "PairTokenizer",
    "PreTrainedTokenizer",
    "PreTrainedTokenizerFast",
    "Qwen2Tokenizer",
    "Qwen2TokenizerFast",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "TokenSpan",
    "Tokenizer",
    "XLMRobertaTokenizer",
    "XLMRobertaTokenizerFast",
    "pair",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"seqgraft.text.{_HOME[name]}"), name)
    globals()[name] = value
    return value
