"""Tokenizers of many languages: a text carries its own language's token, and a target the one it is written in.

mBART (Liu et al. 2020), mBART-50 (Tang et al. 2020), M2M-100 (Fan et al. 2020), NLLB-200 (Costa-jussà et al. 2022),
PLBART (Ahmad et al. 2021).
"""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import tokenizers
from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from seqgraft.errors import TokenizerError
from seqgraft.text import sentencepiece
from seqgraft.text.families import XLMRobertaTokenizer
from seqgraft.text.recipe import Recipe, read_vocab
from seqgraft.text.special import special

_MBART = (
    "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX "
    "ro_RO ru_RU si_LK tr_TR vi_VN zh_CN"
)
_MBART_50 = (
    f"{_MBART} af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE "
    "sw_KE ta_IN te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI"
)
_M2M_100 = {
    "m2m100": (
        "af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu "
        "hy id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt "
        "ro ru sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu"
    ),
    "wmt21": "en ha is ja cs ru zh de",
}
_PLBART = {
    "base": "__java__ __python__ __en_XX__",
    "multi": "__java__ __python__ __en_XX__ __javascript__ __php__ __ruby__ __go__",
}
_FRAMED = ("bos_token", "eos_token", "src_lang", "tgt_lang")


class LanguageTokenizer(XLMRobertaTokenizer):
    """What the tokenizers of many languages have in common, and a class that no folder names.

    `src_lang` and `tgt_lang` may be set at any time: `tokenizer(text, text_target=...)` frames the text for the first
    and the target for the second. A language that the vocabulary lacks is a TokenizerError that lists those it has.
    """

    tokens: ClassVar[Mapping[str, Any]] = {
        **XLMRobertaTokenizer.tokens,
        "mask_token": AddedToken("<mask>", lstrip=True, special=True),
    }
    settings: ClassVar[Mapping[str, Any]] = {"add_prefix_space": True, "src_lang": None, "tgt_lang": None}
    framing = _FRAMED
    ahead: ClassVar[bool] = False
    """Whether the language's token stands before the text, rather than after its end."""
    usual: ClassVar[str | None] = "en_XX"
    """The source's language where nobody says one."""

    def _codes(self) -> list[str]:
        """The languages that the published vocabulary has, in the order of their ids."""
        return []

    def _token(self, code: str) -> str:
        """The token of a language."""
        return code

    @property
    def lang_code_to_id(self) -> dict[str, int]:
        """Each language's code, and the id of its token."""
        found = {code: self.token_to_id(self._token(code)) for code in self._codes()}
        return {code: index for code, index in found.items() if index is not None}

    @property
    def src_lang(self) -> str | None:
        """The language of the texts; setting it rewrites their frame."""
        said = self.options["src_lang"]
        return self.usual if said is None else str(said)

    @src_lang.setter
    def src_lang(self, code: str | None) -> None:
        self.options["src_lang"] = self._known("src_lang", code)
        with self._lock:
            self._face(target=False)

    @property
    def tgt_lang(self) -> str | None:
        """The language of the targets; None means that of the texts."""
        said: str | None = self.options["tgt_lang"]
        return said

    @tgt_lang.setter
    def tgt_lang(self, code: str | None) -> None:
        self.options["tgt_lang"] = self._known("tgt_lang", code)

    def get_lang_token(self, lang: str) -> str:
        """A language's token; TokenizerError for one that is none of this vocabulary's."""
        return self._token(str(self._known("lang", lang)))

    def get_lang_id(self, lang: str) -> int:
        """The id of a language's token, which `generate` takes as `forced_bos_token_id`."""
        return self.lang_code_to_id[str(self._known("lang", lang))]

    def set_src_lang_special_tokens(self, src_lang: str) -> None:
        """Frame texts for this language from here on."""
        self.src_lang = src_lang

    def set_tgt_lang_special_tokens(self, lang: str) -> None:
        """Frame targets for this language from here on."""
        self.tgt_lang = lang

    def _known(self, name: str, code: str | None) -> str | None:
        if code is None:
            return None
        held = self.lang_code_to_id
        plain = next((one for one in (code, code.strip("_"), f"__{code}__") if one in held), None)
        if plain is None:
            raise TokenizerError(f"`{name}` must be one of {', '.join(held) or 'no languages'}, but is {code!r}.")
        return plain

    # How one is made

    def _frame_made(self, recipe: Recipe, options: Mapping[str, Any]) -> None:
        for name in ("src_lang", "tgt_lang"):
            self.options[name] = self._known(name, self.options[name])
        self._frame()

    def _take_tokens(self, recipe: Recipe) -> None:
        held = {str(token) for token in self._extra}
        self._extra += [special(token) for code in self._codes() if (token := self._token(code)) not in held]
        super()._take_tokens(recipe)

    def _order(self, scored: list[tuple[str, float]]) -> list[tuple[str, float]]:
        *most, mask = super()._order(scored)
        return [*most, *((self._token(code), 0.0) for code in self._codes()), mask]

    def _frame(self) -> None:
        self._face(target=False)

    def _face(self, *, target: bool) -> None:
        code = self.tgt_lang if target and self.tgt_lang is not None else self.src_lang
        language = [] if code is None or code not in self.lang_code_to_id else [self._token(code)]
        end = [str(self.eos_token)]
        before, after = (language, end) if self.ahead else ([], [*end, *language])
        self._backend.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *after],
            pair=[*before, "$A", "$B", *after],
            special_tokens=[(token, self.token_to_id(token)) for token in (*before, *after)],
        )


class MBartTokenizer(LanguageTokenizer):
    """mBART's: `text </s> en_XX`."""

    def _codes(self) -> list[str]:
        return _MBART.split()


class MBart50Tokenizer(LanguageTokenizer):
    """mBART-50's: `en_XX text </s>`."""

    ahead = True

    def _codes(self) -> list[str]:
        return _MBART_50.split()

    def _build(self, recipe: Recipe) -> tokenizers.Tokenizer:
        backend = super()._build(recipe)
        _as_pieces(backend, recipe)
        return backend


class NllbTokenizer(LanguageTokenizer):
    """NLLB-200's: `eng_Latn text </s>`, or as the older checkpoints were trained, `text </s> eng_Latn`.

    It comes with a tokenizer.json, whose special tokens `xxx_Xxxx` are its languages.
    """

    settings: ClassVar[Mapping[str, Any]] = {**LanguageTokenizer.settings, "legacy_behaviour": False}
    usual = "eng_Latn"

    @property
    def ahead(self) -> bool:  # type: ignore[override]
        """Whether the language stands first."""
        return not self.options["legacy_behaviour"]

    def _codes(self) -> list[str]:
        return [token for token in map(str, self._extra) if len(token) == 8 and token[3] == "_" and token[4].isupper()]

    def _build(self, recipe: Recipe) -> tokenizers.Tokenizer:
        vocab, merges = recipe.bytes_pairs(type(self).__name__)
        backend = tokenizers.Tokenizer(BPE(vocab, merges, unk_token=str(self.unk_token), fuse_unk=True))
        _as_pieces(backend, recipe)
        backend.normalizer = None  # its own is the model's charsmap, which a bare vocabulary does not hold
        return backend

    def _smallest(self) -> Recipe:
        return Recipe(vocab={str(self.unk_token): 0}, merges=[])


class _OfPieces(LanguageTokenizer):
    """A class that the field builds from a SentencePiece model alone: the folder says a plain tokenizer.json instead,
    and `language_codes` tells which class it was."""

    keeps_options = True

    def follows_its_family(self) -> bool:
        """Not for the field, whose class does not read a tokenizer.json."""
        return False


class M2M100Tokenizer(_OfPieces):
    """M2M-100's: `__en__ text </s>`; the languages are called `en`, `de`, ... and follow the vocabulary's words."""

    settings: ClassVar[Mapping[str, Any]] = {
        **LanguageTokenizer.settings,
        "language_codes": "m2m100",
        "num_madeup_words": 8,
    }
    tokens: ClassVar[Mapping[str, Any]] = {
        name: token for name, token in XLMRobertaTokenizer.tokens.items() if name not in ("mask_token", "cls_token")
    }
    ahead, usual = True, "en"

    def _codes(self) -> list[str]:
        return _named(_M2M_100, self.options["language_codes"])

    def _token(self, code: str) -> str:
        return f"__{code}__"

    def _build(self, recipe: Recipe) -> tokenizers.Tokenizer:
        words, pieces = recipe.vocab, recipe.pieces
        if not isinstance(words, str | os.PathLike) or pieces is None:
            raise TokenizerError("An M2M100Tokenizer must come with vocab.json and sentencepiece.bpe.model.")
        vocab = read_vocab(words)
        ranks = {piece: rank for rank, (piece, _) in enumerate(pieces.scored)}
        joins = [(a, b) for a, b in sentencepiece.merges(ranks) if {a, b, a + b} <= vocab.keys()]
        backend = tokenizers.Tokenizer(BPE(vocab, joins, unk_token=str(self.unk_token), fuse_unk=True))
        _as_pieces(backend, recipe)
        return backend


class PLBartTokenizer(_OfPieces):
    """PLBART's: `text </s> __python__`, and no language at all where nobody says one; `java` means `__java__`."""

    settings: ClassVar[Mapping[str, Any]] = {**LanguageTokenizer.settings, "language_codes": "base"}

    def _codes(self) -> list[str]:
        return _named(_PLBART, self.options["language_codes"])

    def _build(self, recipe: Recipe) -> tokenizers.Tokenizer:
        backend = super()._build(recipe)
        pieces = recipe.pieces
        if pieces is not None and pieces.kind == sentencepiece.BPE:
            vocab = {token: index for index, (token, _) in enumerate(self._order(pieces.scored))}
            joins = sentencepiece.merges({piece: rank for rank, (piece, _) in enumerate(pieces.scored)})
            backend.model = BPE(vocab, joins, unk_token=str(self.unk_token), fuse_unk=True)
        _as_pieces(backend, recipe)
        return backend

    def _make(self, recipe: Recipe) -> None:
        recipe.options.setdefault("clean_up_tokenization_spaces", True)
        super()._make(recipe)

    @property
    def usual(self) -> str | None:  # type: ignore[override]
        """English, where there are many languages."""
        return "__en_XX__" if self.options["language_codes"] == "multi" else None


def _as_pieces(backend: tokenizers.Tokenizer, recipe: Recipe) -> None:
    """SentencePiece's own cut: spaces joined, and each word with its space before it."""
    charsmap = recipe.pieces.charsmap if recipe.pieces is not None else None
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    backend.normalizer = normalizers.Sequence([*([normalizers.Precompiled(charsmap)] if charsmap else []), spaces])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always", split=True)


def _named(lists: Mapping[str, str], name: Any) -> list[str]:
    if name not in lists:
        raise TokenizerError(f"`language_codes` must be one of {', '.join(lists)}, but is {name!r}.")
    return lists[name].split()


MBartTokenizerFast = MBartTokenizer
MBart50TokenizerFast = MBart50Tokenizer
NllbTokenizerFast = NllbTokenizer
