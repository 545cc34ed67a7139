"""Special tokens: their names, how they are kept, and how files write them."""

from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken

from seqgraft.errors import TokenizerError

if TYPE_CHECKING:
    from seqgraft.text.vocabulary import Vocabulary

Token = str | AddedToken

# The order in which tokens that the vocabulary lacks get their ids.
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


class TokenName:
    """A property `pad_token`: the token's text or None; set with text, an AddedToken or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: "Vocabulary", owner: type) -> str | None:
        token = tokenizer.named.get(self.name)
        return None if token is None else str(token)

    def __set__(self, tokenizer: "Vocabulary", token: Token | None) -> None:
        if token is not None and not isinstance(token, str | AddedToken):
            raise TokenizerError(f"`{self.name}` must be a text or an AddedToken, but is {token!r}.")
        tokenizer.named[self.name] = token


class TokenId:
    """A property `pad_token_id`: the id of the token of that name, or None when it is not set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, tokenizer: "Vocabulary", owner: type) -> int | None:
        token = tokenizer.named.get(self.name)
        return None if token is None else tokenizer.token_to_id(str(token))

    def __set__(self, tokenizer: "Vocabulary", index: int | None) -> None:
        token = None if index is None else tokenizer.convert_ids_to_tokens(index)
        if index is not None and token is None:
            raise TokenizerError(
                f"`{self.name}_id` must be an id of the vocabulary ({len(tokenizer)}), but is {index}."
            )
        setattr(tokenizer, self.name, token)


def parse(value: Any) -> Any:
    """A token as a file writes it (text, or a dictionary with `content`) -> text or AddedToken."""
    if not isinstance(value, dict):
        return value
    content, flags = value.get("content"), {name: value[name] for name in _FLAGS if name in value}
    if not isinstance(content, str) or not all(isinstance(flag, bool) for flag in flags.values()):
        raise TokenizerError(f"A token must be a text or hold `content` and flags, but is {value!r}.")
    return AddedToken(content, **flags)


def special(token: Token, **flags: bool) -> AddedToken:
    """The token as a special one; an AddedToken keeps its other flags."""
    if isinstance(token, str):
        return AddedToken(token, special=True, **flags)
    if not token.special:
        token.special = True
    return token


def check(name: str, value: Any) -> Token | None:
    """A named special token as the caller or a file gives it."""
    value = parse(value)
    if value is not None and not isinstance(value, str | AddedToken):
        raise TokenizerError(f"`{name}` must be a text or an AddedToken, but is {value!r}.")
    return value


def check_all(name: str, values: Any) -> list[Token]:
    """A list of extra special tokens."""
    if values is None:
        return []
    if not isinstance(values, list | tuple):
        raise TokenizerError(f"`{name}` must be a list of texts or AddedTokens, but is {values!r}.")
    tokens = [check(name, value) for value in values]
    return [token for token in tokens if token is not None]
