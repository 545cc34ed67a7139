"""The families' tokenizers: how each is built from a bare vocabulary, and what stands around its texts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import tokenizers
from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram, WordPiece

from seqgraft.text import sentencepiece
from seqgraft.text.recipe import Recipe
from seqgraft.text.tokenizer import Tokenizer

# How Qwen2 cuts a text before its merges.
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class BertTokenizer(Tokenizer):
    """WordPiece over words and punctuation: `[CLS] a [SEP] b [SEP]`. Lower-cases unless `do_lower_case=False`."""

    model_input_names: Sequence[str] = ("input_ids", "token_type_ids", "attention_mask")
    tokens: ClassVar[Mapping[str, Any]] = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    settings: ClassVar[Mapping[str, Any]] = {
        "do_lower_case": True,
        "tokenize_chinese_chars": True,
        "strip_accents": None,
    }
    framing = ("cls_token", "sep_token")

    def _build(self, recipe: Recipe) -> tokenizers.Tokenizer:
        words = recipe.words(type(self).__name__)
        backend = tokenizers.Tokenizer(WordPiece(words, unk_token=str(self.unk_token)))
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=self.options["tokenize_chinese_chars"],
            strip_accents=self.options["strip_accents"],
            lowercase=self.options["do_lower_case"],
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##")
        return backend

    def _adjust(self, settings: Mapping[str, Any]) -> None:
        normalizer = self._backend.normalizer
        if not isinstance(normalizer, normalizers.BertNormalizer):
            return
        names = {
            "do_lower_case": "lowercase",
            "tokenize_chinese_chars": "handle_chinese_chars",
            "strip_accents": "strip_accents",
        }
        for name, field in names.items():
            if name in settings:
                setattr(normalizer, field, settings[name])
            self.options[name] = getattr(normalizer, field)

    def _smallest(self) -> Recipe:
        return Recipe(vocab={str(self.unk_token): 0})

    def _frame(self) -> None:
        cls, sep = str(self.cls_token), str(self.sep_token)
        self._backend.post_processor = processors.TemplateProcessing(
            single=f"{cls}:0 $A:0 {sep}:0",
            pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
            special_tokens=[(cls, self.cls_token_id), (sep, self.sep_token_id)],
        )


class DistilBertTokenizer(BertTokenizer):
    """BERT's, for models without token types."""

    model_input_names: Sequence[str] = ("input_ids", "attention_mask")


class GPT2Tokenizer(Tokenizer):
    """Byte-level BPE with nothing around the text."""

    tokens: ClassVar[Mapping[str, Any]] = {
        "unk_token": "<|endoftext|>",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": None,
    }
    settings: ClassVar[Mapping[str, Any]] = {"add_prefix_space": False, "errors": "replace"}

    def _build(self, recipe: Recipe) -> tokenizers.Tokenizer:
        vocab, merges = recipe.bytes_pairs(type(self).__name__)
        model = BPE(vocab, merges, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False)
        backend = tokenizers.Tokenizer(model)
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(self.options["add_prefix_space"]))
        backend.decoder = decoders.ByteLevel()
        return backend

    def _adjust(self, settings: Mapping[str, Any]) -> None:
        level = _byte_level(self._backend.pre_tokenizer)
        if level is not None:
            if settings.get("add_prefix_space") is not None:
                level.add_prefix_space = bool(settings["add_prefix_space"])
            self.options["add_prefix_space"] = level.add_prefix_space


class RobertaTokenizer(GPT2Tokenizer):
    """Byte-level BPE: `<s> a </s></s> b </s>`. BART's too."""

    tokens: ClassVar[Mapping[str, Any]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }
    settings: ClassVar[Mapping[str, Any]] = {"add_prefix_space": False, "trim_offsets": True, "errors": "replace"}
    framing = ("sep_token", "cls_token")

    def _frame(self) -> None:
        self._backend.post_processor = processors.RobertaProcessing(
            (str(self.sep_token), self.sep_token_id or 0),
            (str(self.cls_token), self.cls_token_id or 0),
            bool(self.options["trim_offsets"]),
            bool(self.options["add_prefix_space"]),
        )


class Qwen2Tokenizer(GPT2Tokenizer):
    """Byte-level BPE over NFC text, cut by a pattern of its own; nothing around the text."""

    tokens: ClassVar[Mapping[str, Any]] = {
        "unk_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    settings: ClassVar[Mapping[str, Any]] = {"add_prefix_space": None, "errors": "replace"}

    def _build(self, recipe: Recipe) -> tokenizers.Tokenizer:
        backend = super()._build(recipe)
        backend.normalizer = normalizers.NFC()
        prefix = bool(self.options["add_prefix_space"])
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_QWEN2), behavior="isolated", invert=False),
                pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False),
            ]
        )
        return backend


class XLMRobertaTokenizer(Tokenizer):
    """Unigram over SentencePiece pieces: `<s> a </s></s> b </s>`."""

    tokens: ClassVar[Mapping[str, Any]] = RobertaTokenizer.tokens
    settings: ClassVar[Mapping[str, Any]] = {"add_prefix_space": True}
    framing: ClassVar[tuple[str, ...]] = ("bos_token", "eos_token")

    def _build(self, recipe: Recipe) -> tokenizers.Tokenizer:
        pieces = recipe.pieces
        scored = self._order(pieces.scored) if pieces is not None else recipe.scored(type(self).__name__)
        unknown = next((i for i, (token, _) in enumerate(scored) if token == self.unk_token), 0)
        backend = tokenizers.Tokenizer(Unigram(scored, unk_id=unknown, byte_fallback=False))
        if pieces is not None:
            self._extra = self._extra or pieces.added()
            if pieces.charsmap:
                backend.normalizer = normalizers.Precompiled(pieces.charsmap)
        scheme = "always" if self.options["add_prefix_space"] else "never"
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)]
        )
        backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)
        return backend

    def _smallest(self) -> Recipe:
        return Recipe(vocab=[(str(self.unk_token), 0.0)])

    def _alike(self, other: tokenizers.Tokenizer) -> bool:
        if _is_charsmap(self._backend.normalizer):
            other.normalizer = self._backend.normalizer  # a bare vocabulary does not hold it, a tokenizer.json does
        return super()._alike(other)

    def _order(self, scored: list[tuple[str, float]]) -> list[tuple[str, float]]:
        """fairseq's order of the first ids, and the mask at the end."""
        first = [(str(t), 0.0) for t in (self.bos_token, self.pad_token, self.eos_token, self.unk_token)]
        return [*first, *scored[3:], (str(self.mask_token), 0.0)]

    def _frame(self) -> None:
        bos, eos = str(self.bos_token), str(self.eos_token)
        self._backend.post_processor = processors.TemplateProcessing(
            single=[bos, "$A", eos],
            pair=[bos, "$A", eos, eos, "$B", eos],
            special_tokens=[(bos, self.bos_token_id), (eos, self.eos_token_id)],
        )


class CamembertTokenizer(XLMRobertaTokenizer):
    """XLM-RoBERTa's, with the unused first ids of CamemBERT."""

    tokens: ClassVar[Mapping[str, Any]] = {
        **XLMRobertaTokenizer.tokens,
        "mask_token": AddedToken("<mask>", lstrip=True, special=True),
        "extra_special_tokens": ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"],
    }

    def _order(self, scored: list[tuple[str, float]]) -> list[tuple[str, float]]:
        first = [("<s>NOTUSED", 0.0), (str(self.pad_token), 0.0), ("</s>NOTUSED", 0.0), (str(self.unk_token), 0.0)]
        return [*first, ("<unk>NOTUSED", -100.0), *scored[1:], (str(self.mask_token), 0.0)]


class LlamaTokenizer(Tokenizer):
    """BPE over SentencePiece pieces with bytes for what is unknown; pads on the left."""

    padding_side = "left"
    tokens: ClassVar[Mapping[str, Any]] = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    settings: ClassVar[Mapping[str, Any]] = {
        "add_prefix_space": None,
        "legacy": False,
        "use_default_system_prompt": False,
    }

    def _build(self, recipe: Recipe) -> tokenizers.Tokenizer:
        if recipe.pieces is not None:
            vocab = {token: index for index, (token, _) in enumerate(recipe.pieces.scored)}
            merges = sentencepiece.merges(vocab)
            self._extra = self._extra or recipe.pieces.added()
        else:
            vocab, merges = recipe.bytes_pairs(type(self).__name__)
        prefix = self.options["add_prefix_space"] in (None, True)
        scheme = ("always" if self.options["legacy"] else "first") if prefix else "never"
        backend = tokenizers.Tokenizer(BPE(vocab, merges, fuse_unk=True, byte_fallback=True))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
        strip = [decoders.Strip(content=" ", left=1)] if prefix else []
        backend.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
        )
        return backend


def _byte_level(pre_tokenizer: Any) -> Any:
    """The byte-level part of a pre-tokenizer, or None."""
    if isinstance(pre_tokenizer, pre_tokenizers.ByteLevel):
        return pre_tokenizer
    if isinstance(pre_tokenizer, pre_tokenizers.Sequence):
        index = 0
        while True:
            try:
                part = pre_tokenizer[index]
            except IndexError:
                return None
            if isinstance(part, pre_tokenizers.ByteLevel):
                return part
            index += 1
    return None


def _is_charsmap(normalizer: Any) -> bool:
    """Whether a normalizer is SentencePiece's own, with or without the joining of spaces that splitting makes idle."""
    if isinstance(normalizer, normalizers.Sequence):
        parts = json.loads(normalizer.__getstate__())["normalizers"]
        spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
        return len(parts) == 2 and parts[0]["type"] == "Precompiled" and parts[1] == spaces
    return isinstance(normalizer, normalizers.Precompiled)


BertTokenizerFast = BertTokenizer
DistilBertTokenizerFast = DistilBertTokenizer
GPT2TokenizerFast = GPT2Tokenizer
RobertaTokenizerFast = BartTokenizer = BartTokenizerFast = RobertaTokenizer
XLMRobertaTokenizerFast = XLMRobertaTokenizer
CamembertTokenizerFast = CamembertTokenizer
LlamaTokenizerFast = LlamaTokenizer
Qwen2TokenizerFast = Qwen2Tokenizer
