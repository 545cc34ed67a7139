"""Checks that the parts of a spec share."""

from seqgraft.errors import SpecError


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse a word that is not one of those allowed."""
    if value not in allowed:
        raise SpecError(f"{name} must be one of {', '.join(allowed)}, but is {value!r}.")


def at_least(name: str, value: float, least: float) -> None:
    """Refuse what is no number, or a number below the least."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least:
        raise SpecError(f"{name} must be a number of at least {least}, but is {value!r}.")


def probability(name: str, value: float) -> None:
    """Refuse what is no number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise SpecError(f"{name} must be a probability from 0 to 1, but is {value!r}.")
