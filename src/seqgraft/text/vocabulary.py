"""A tokenizer's vocabulary and special tokens: what every tokenizer knows before it sees a text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import tokenizers
from tokenizers import AddedToken

from seqgraft.errors import TokenizerError
from seqgraft.text.special import NAMES, Token, TokenId, TokenName, special


class Vocabulary:
    """Tokens and ids over a `tokenizers.Tokenizer`; the named special tokens are properties."""

    _backend: tokenizers.Tokenizer
    named: dict[str, Token | None]
    _extra: list[Token]

    bos_token = TokenName()
    eos_token = TokenName()
    unk_token = TokenName()
    sep_token = TokenName()
    pad_token = TokenName()
    cls_token = TokenName()
    mask_token = TokenName()
    bos_token_id = TokenId()
    eos_token_id = TokenId()
    unk_token_id = TokenId()
    sep_token_id = TokenId()
    pad_token_id = TokenId()
    cls_token_id = TokenId()
    mask_token_id = TokenId()
    pad_token_type_id = 0

    def __len__(self) -> int:
        size: int = self._backend.get_vocab_size(with_added_tokens=True)
        return size

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """The number of tokens without the added ones; `len(tokenizer)` counts those too."""
        size: int = self._backend.get_vocab_size(with_added_tokens=False)
        return size

    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer:
        """The `tokenizers.Tokenizer` beneath."""
        return self._backend

    @property
    def vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return self.get_vocab()

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return dict(self._backend.get_vocab(with_added_tokens=True))

    def get_added_vocab(self) -> dict[str, int]:
        """Added token -> id, in id order."""
        return {str(token.content): index for index, token in sorted(self.added_tokens_decoder.items())}

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token, special ones included."""
        return dict(self._backend.get_added_tokens_decoder())

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Added token -> id, in id order."""
        return self.get_added_vocab()

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The named special tokens that are set: name -> token."""
        return {name: str(token) for name, token in self.named.items() if token is not None}

    @property
    def extra_special_tokens(self) -> list[str]:
        """The special tokens without a name."""
        return [str(token) for token in self._extra]

    @extra_special_tokens.setter
    def extra_special_tokens(self, tokens: Iterable[Token] | None) -> None:
        self._extra = list(tokens or ())

    @property
    def additional_special_tokens(self) -> list[str]:
        """The older name of `extra_special_tokens`."""
        return self.extra_special_tokens

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Iterable[Token] | None) -> None:
        self._extra = list(tokens or ())

    @property
    def additional_special_tokens_ids(self) -> list[int | None]:
        """The ids of the special tokens without a name."""
        return self.convert_tokens_to_ids(self.extra_special_tokens)

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once, named ones first."""
        return list(dict.fromkeys([*self.special_tokens_map.values(), *self.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int | None]:
        """The ids of `all_special_tokens`."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    def token_to_id(self, token: str) -> int | None:
        """The token's id; the unknown token's when the vocabulary lacks it; None when there is no unknown token."""
        index: int | None = self._backend.token_to_id(token)
        if index is None and self.named.get("unk_token") is not None:
            index = self._backend.token_to_id(str(self.named["unk_token"]))
        return index

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int | None: ...

    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int | None]: ...

    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int | None] | None:
        """A token or tokens -> id or ids (see `token_to_id`)."""
        if isinstance(tokens, str):
            return self.token_to_id(tokens)
        return [self.token_to_id(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str | None: ...

    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str | None]: ...

    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> str | list[str | None] | None:
        """An id or ids -> token or tokens; None for an id outside the vocabulary."""
        if isinstance(ids, int):
            token: str | None = self._backend.id_to_token(ids)
            return token
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._backend.id_to_token(int(index)) for index in ids if int(index) not in skipped]

    def add_tokens(self, new_tokens: Token | Sequence[Token], special_tokens: bool = False) -> int:
        """Add tokens at the vocabulary's end; returns how many were new. Resize the model's table afterwards."""
        if not new_tokens:
            return 0
        tokens = [new_tokens] if isinstance(new_tokens, str | AddedToken) else list(new_tokens)
        added = self._backend.add_special_tokens if special_tokens else self._backend.add_tokens
        count: int = added(tokens)
        return count

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_extra_special_tokens: bool = True
    ) -> int:
        """Set named special tokens (`{"pad_token": "<pad>", "extra_special_tokens": [...]}`); returns how many are new.

        Raises TokenizerError for a name that is none of a special token.
        """
        added: list[Token] = []
        for name, value in special_tokens_dict.items():
            if name in ("extra_special_tokens", "additional_special_tokens"):
                if not isinstance(value, list | tuple) or not all(isinstance(t, str | AddedToken) for t in value):
                    raise TokenizerError(f"`{name}` must be a list of texts or AddedTokens, but is {value!r}.")
                tokens = [special(token, normalized=False) if isinstance(token, str) else token for token in value]
                if not replace_extra_special_tokens:
                    tokens = [token for token in tokens if str(token) not in self.extra_special_tokens]
                self._extra = tokens if replace_extra_special_tokens and tokens else [*self._extra, *tokens]
                added += tokens
            elif name in NAMES:
                if not isinstance(value, str | AddedToken):
                    raise TokenizerError(f"`{name}` must be a text or an AddedToken, but is {value!r}.")
                token = special(value, normalized=False) if isinstance(value, str) else value
                self.named[name] = token
                added.append(token)
            else:
                raise TokenizerError(f"A special token must be one of {', '.join(NAMES)}, but is '{name}'.")
        return self.add_tokens(added, special_tokens=True)
