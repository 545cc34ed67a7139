"""The tokenizer: text -> ids with masks, ids -> text, over one `tokenizers.Tokenizer`."""

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import tokenizers
from tokenizers import decoders, normalizers
from tokenizers.models import BPE, Unigram

from seqgraft.errors import TokenizerError
from seqgraft.text import sentencepiece
from seqgraft.text.batching import UNLIMITED, plain
from seqgraft.text.calling import Calling, logger
from seqgraft.text.recipe import Merges, Recipe, open_backend
from seqgraft.text.recipe import Vocabulary as Words
from seqgraft.text.special import NAMES, check, check_all, special

OPTIONS = frozenset(
    (
        *("add_bos_token", "add_eos_token", "additional_special_tokens", "clean_up_tokenization_spaces"),
        *("extra_special_tokens", "model_input_names", "model_max_length", "name_or_path", "padding_side"),
        *("split_special_tokens", "truncation_side"),
    )
)
_FRAME = frozenset(("add_bos_token", "add_eos_token"))
_CLEAN = (
    *((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'")),
    *((" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")),
)


class Tokenizer(Calling):
    """A tokenizer of any family, as its tokenizer.json describes it.

    Give `tokenizer_object` (a `tokenizers.Tokenizer`, copied) or `tokenizer_file`, and the special tokens by name
    (`pad_token="<pad>"`), `extra_special_tokens`, `model_max_length`, `padding_side`, `truncation_side`,
    `model_input_names`, `clean_up_tokenization_spaces`, `add_bos_token`, `add_eos_token`. Any other keyword argument
    raises TypeError.
    """

    tokens: ClassVar[Mapping[str, Any]] = {}  # the family's published special tokens
    settings: ClassVar[Mapping[str, Any]] = {}  # the family's own options and their published defaults
    framing: ClassVar[tuple[str, ...]] = ()  # the special tokens that stand around a text
    is_fast = True
    keeps_options: ClassVar[bool] = False  # whether a file that names a plain class says the family's options too

    def __init__(
        self,
        vocab: Words | None = None,
        merges: Merges | None = None,
        *,
        vocab_file: str | os.PathLike[str] | None = None,
        merges_file: str | os.PathLike[str] | None = None,
        tokenizer_object: Any = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        self.refuse_unknown(options)
        words = vocab if vocab is not None else vocab_file
        pieces = None
        if isinstance(words, str | os.PathLike) and os.fspath(words).endswith(".model"):
            pieces = sentencepiece.read(words)
        recipe = Recipe(
            backend=open_backend(tokenizer_object, tokenizer_file),
            vocab=words,
            merges=merges if merges is not None else merges_file,
            pieces=pieces,
            options=options,
            chosen=frozenset(options),
        )
        self._make(recipe)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *, use_fast: bool = True, **arguments: Any
    ) -> "Tokenizer":
        """The tokenizer of a folder or hub repository (`revision`, `cache_dir`, `token`, `local_files_only`,
        `subfolder`), with any constructor option overridden.

        Raises FolderError when there is no such folder, TokenizerError when it holds no tokenizer of this class,
        TypeError for an unknown argument.
        """
        from seqgraft.folders import Origin
        from seqgraft.text.files import read

        origin = Origin.take(arguments)
        cls.refuse_unknown(arguments)
        tokenizer = cls.__new__(cls)
        tokenizer._make(read(cls, pretrained_model_name_or_path, origin, arguments))
        tokenizer.name_or_path = os.fspath(pretrained_model_name_or_path)
        return tokenizer

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> tuple[str, ...]:
        """Write tokenizer.json, tokenizer_config.json and special_tokens_map.json, all or none; returns their paths."""
        from seqgraft.text.files import save

        return save(self, save_directory)

    @classmethod
    def refuse_unknown(cls, options: Mapping[str, Any]) -> None:
        """Raise TypeError when an option is none of this class's."""
        unknown = sorted(set(options) - cls.known_options())
        if unknown:
            raise TypeError(f"{cls.__name__} takes no argument {', '.join(map(repr, unknown))}.")

    @classmethod
    def known_options(cls) -> frozenset[str]:
        """The names that the constructor takes besides the vocabulary's."""
        return OPTIONS | {*NAMES, *cls.settings}

    # How one is made; the families override the recipes.

    def _make(self, recipe: Recipe) -> None:
        options = dict(recipe.options)
        self.name_or_path = str(options.pop("name_or_path", ""))
        self._lock = threading.Lock()
        self._warned: set[str] = set()
        self.carried = recipe.carried
        self.options = {**self.settings, **{k: options.pop(k) for k in list(options) if k in self.settings}}
        self.named = {name: check(name, options.pop(name, self.tokens.get(name))) for name in NAMES}
        extra = options.pop("extra_special_tokens", None) or options.pop("additional_special_tokens", None)
        if isinstance(extra, Mapping):  # tokens with names of their own: {"image_token": "<image>"}
            self.named |= {name: check(name, token) for name, token in extra.items()}
            extra = None
        self._extra = check_all("extra_special_tokens", extra)
        if recipe.backend is None:
            self._backend = self._build(recipe)
        else:
            self._backend = recipe.backend
            self._adjust({name: recipe.options[name] for name in self.settings if name in recipe.options})
        self._extra = self._extra or list(self.tokens.get("extra_special_tokens", ()))
        self._take_state(recipe, options)
        self._take_tokens(recipe)
        self._frame_made(recipe, options)

    def _build(self, recipe: Recipe) -> tokenizers.Tokenizer:
        """A tokenizer from a vocabulary. Without a family only a SentencePiece model says enough."""
        pieces = recipe.pieces
        if pieces is None:
            raise TokenizerError(
                f"{type(self).__name__} must be given a tokenizer.json, a `tokenizer_object` or a SentencePiece model; "
                "a bare vocabulary needs the class of its family (BertTokenizer, GPT2Tokenizer, ...)."
            )
        names = ("bos_token", pieces.bos_id), ("eos_token", pieces.eos_id), ("unk_token", pieces.unk_id)
        for name, index in names:
            if index >= 0 and self.named[name] is None:
                self.named[name] = pieces.scored[index][0]
        if not self._extra:
            self._extra = pieces.added()
        if pieces.kind == sentencepiece.UNIGRAM:
            model: Unigram | BPE = Unigram(pieces.scored, unk_id=pieces.unk_id, byte_fallback=pieces.byte_fallback)
        else:
            vocab = {token: index for index, (token, _) in enumerate(pieces.scored)}
            unknown = pieces.scored[pieces.unk_id][0]
            merges = sentencepiece.merges(vocab)
            model = BPE(vocab, merges, unk_token=unknown, fuse_unk=True, byte_fallback=pieces.byte_fallback)
        backend = tokenizers.Tokenizer(model)
        charsmap = [normalizers.Precompiled(pieces.charsmap)] if pieces.charsmap else []
        backend.normalizer = normalizers.Sequence([*charsmap, normalizers.Replace(" ", "▁")])
        joined = [decoders.ByteFallback(), decoders.Fuse()] if pieces.byte_fallback else []
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), *joined])
        return backend

    def _adjust(self, settings: Mapping[str, Any]) -> None:
        """Apply the family's options that were given to a tokenizer that was read whole."""

    def _take_state(self, recipe: Recipe, options: Mapping[str, Any]) -> None:
        truncation, padding = self._backend.truncation or {}, self._backend.padding or {}
        self._reset_state()
        if padding and "pad_token" not in {*recipe.options, *self.tokens}:
            self.named["pad_token"] = padding["pad_token"]
        self.pad_token_type_id = padding.get("pad_type_id", 0)
        limit = options.get("model_max_length")
        self.model_max_length: int | float = UNLIMITED if limit is None else limit
        self.padding_side = options.get("padding_side", padding.get("direction", self.padding_side))
        self.truncation_side = options.get("truncation_side", truncation.get("direction", self.truncation_side))
        for name in ("padding_side", "truncation_side"):
            if getattr(self, name) not in ("left", "right"):
                raise TokenizerError(f"`{name}` must be 'left' or 'right', but is {getattr(self, name)!r}.")
        self.model_input_names = list(options.get("model_input_names") or self.model_input_names)
        self.clean_up_tokenization_spaces = bool(options.get("clean_up_tokenization_spaces"))
        self.split_special_tokens = bool(options.get("split_special_tokens"))

    def _take_tokens(self, recipe: Recipe) -> None:
        """Give every special token a place: what the vocabulary lacks gets new ids, in the order of NAMES."""
        held = self.added_tokens_decoder
        known = {repr(token) for token in held.values()}
        added = [token for _, token in sorted(recipe.added.items()) if repr(token) not in known]
        present = {str(token.content) for token in [*held.values(), *added]}
        for token in [*self.named.values(), *self._extra]:
            if token is not None and str(token) not in present:
                present.add(str(token))
                added.append(special(token) if isinstance(token, str) or token in self.named.values() else token)
        self.add_tokens(added)

    def _frame_made(self, recipe: Recipe, options: Mapping[str, Any]) -> None:
        """Write the frame, unless a tokenizer that was read whole brought its own and the caller changed nothing."""
        fresh = recipe.backend is None or self._backend.post_processor is None
        if not fresh and not recipe.chosen & {*_FRAME, *self.framing}:
            self._add_bos, self._add_eos = self._seen_frame()
        elif self.framing:
            self._frame()
        else:
            seen = (False, False) if fresh else self._seen_frame()
            self._add_bos = bool(options.get("add_bos_token", seen[0]))
            self._add_eos = bool(options.get("add_eos_token", seen[1]))
            self.update_post_processor()

    def _frame(self) -> None:
        """Write the family's own frame."""

    def _seen_frame(self) -> tuple[bool, bool]:
        """Whether the frame that a file brought begins with `bos_token` and ends with `eos_token`."""
        if not self.num_special_tokens_to_add():
            return False, False
        row = [index for index, _ in self._probe(pair=False)]
        return row[0] == self.bos_token_id, row[-1] == self.eos_token_id

    # Ids -> text

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> Any:
        """Ids [time] (a list, array or tensor, or one id) -> text; rows [batch, time] -> a list of texts.

        `clean_up_tokenization_spaces` removes the spaces before punctuation, except for BPE vocabularies, whose
        spaces are the text's own. Raises TokenizerError for ids below 0.
        """
        ids = plain(token_ids["input_ids"] if isinstance(token_ids, Mapping) else token_ids)
        if isinstance(ids, list | tuple) and ids and isinstance(ids[0], list | tuple):
            return [self._decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in ids]
        return self._decode([ids] if isinstance(ids, int) else ids, skip_special_tokens, clean_up_tokenization_spaces)

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """Rows of ids [batch, time] -> texts, each as `decode` gives it."""
        texts = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces)
        return [texts] if isinstance(texts, str) else list(texts)

    def _decode(self, ids: Sequence[int], skip: bool, clean: bool | None) -> str:
        try:
            text: str = self._backend.decode(list(ids), skip_special_tokens=skip)
        except (OverflowError, TypeError) as error:
            raise TokenizerError(
                f"Ids to decode must be integers of 0 or more, but hold {_wrong(ids)!r} (labels are padded with -100; "
                "replace it by `pad_token_id` first)."
            ) from error
        if self.clean_up_tokenization_spaces if clean is None else clean:
            if isinstance(self._backend.model, BPE):
                if "clean" not in self._warned:
                    self._warned.add("clean")
                    logger.warning("`clean_up_tokenization_spaces` has no effect on a BPE vocabulary.")
                return text
            text = self.clean_up_tokenization(text)
        return text

    @staticmethod
    def clean_up_tokenization(text: str) -> str:
        """Remove the spaces before punctuation and English contractions."""
        for spaced, joined in _CLEAN:
            text = text.replace(spaced, joined)
        return text

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Tokens -> text."""
        if self._backend.decoder is None:
            return " ".join(tokens)
        text: str = self._backend.decoder.decode(tokens)
        return text

    # As an object

    def clean_backend(self) -> tokenizers.Tokenizer:
        """The backend without the padding and truncation of the last call, which must not reach a file."""
        with self._lock:
            self._reset_state()
        return self._backend

    def follows_its_family(self) -> bool:
        """Whether the family's recipe, given this vocabulary, cuts, joins and frames texts as this tokenizer does."""
        if type(self) is Tokenizer:
            return False
        twin = type(self).__new__(type(self))
        twin.options, twin.named, twin._extra, twin._lock = self.options, self.named, [], threading.Lock()
        twin._backend = twin._build(self._smallest())
        return self._alike(twin._backend) and self._family_frame()

    def _smallest(self) -> Recipe:
        """The smallest vocabulary that the family's recipe takes."""
        return Recipe(vocab={}, merges=[])

    def _alike(self, other: tokenizers.Tokenizer) -> bool:
        """Whether `other` has this backend's parts, the vocabulary aside."""
        own = self._backend
        parts = ("normalizer", "pre_tokenizer", "decoder")
        flags = ("continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "dropout")
        return (
            type(own.model) is type(other.model)
            and all(_state(getattr(own, part)) == _state(getattr(other, part)) for part in parts)
            and all((getattr(own.model, f, 0) or 0) == (getattr(other.model, f, 0) or 0) for f in flags)
        )

    def _family_frame(self) -> bool:
        """Whether the frame is the family's own."""
        if not self.framing:
            return True
        with self._lock:
            kept = self._backend.post_processor
            self._frame()
            own = _state(self._backend.post_processor)
            self._backend.post_processor = kept
        return bool(own == _state(kept))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, padding_side={self.padding_side!r}, "
            f"truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


def _state(part: Any) -> Any:
    return None if part is None else part.__getstate__()


def _wrong(ids: Any) -> Any:
    if not isinstance(ids, list | tuple):
        return ids
    return next((index for index in ids if not isinstance(index, int) or index < 0), ids)


PreTrainedTokenizer = PreTrainedTokenizerFast = Tokenizer
