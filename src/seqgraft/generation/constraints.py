"""What a text must contain: constraints that a beam search works towards, with the field's names and behaviour.

A constraint remembers how far it is; `advance` says which tokens bring it further. Hu et al. 2019, "Improved Lexically
Constrained Decoding", https://aclanthology.org/N19-1090, for the banks; the classes are those of transformers 4.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from seqgraft.errors import GenerationError


class Constraint(ABC):
    """Base of the constraints. Those of your own call `super().__init__()` last, which tries them out.

    `seqlen` is the most tokens that it takes. Feeding `update` what `advance` names must complete it.
    """

    seqlen: int

    def __init__(self) -> None:
        self.test()

    def test(self) -> None:
        """Walk to the end; GenerationError when the constraint cannot be completed as its own methods say."""
        for step in range(10_001):
            if step == 1:
                self.reset()
            asked = self.advance()
            token = asked[0] if isinstance(asked, list) else asked
            if token is None or not self.does_advance(token):
                raise GenerationError(f"{type(self).__name__}.does_advance must be True for what advance() names.")
            if self.update(token)[1]:
                break
        else:
            raise GenerationError(f"{type(self).__name__}.update must complete the constraint, but 10,000 did not.")
        if self.remaining() != 0:
            raise GenerationError(f"{type(self).__name__}.remaining() must be 0 at its end, but is {self.remaining()}.")

    @abstractmethod
    def advance(self) -> int | list[int] | None:
        """The token, or the tokens, that would bring it one step further; None when it is complete."""

    @abstractmethod
    def does_advance(self, token_id: int) -> bool:
        """Whether this token would bring it further."""

    @abstractmethod
    def update(self, token_id: int) -> tuple[bool, bool, bool]:
        """Take the next token of a text: (it came further, it is complete, it starts again from nothing)."""

    @abstractmethod
    def reset(self) -> None:
        """Start again from nothing."""

    @abstractmethod
    def remaining(self) -> int:
        """How many tokens it still takes."""

    @abstractmethod
    def copy(self, stateful: bool = False) -> "Constraint":
        """The same constraint, from its start, or as far as this one with `stateful`."""


class PhrasalConstraint(Constraint):
    """The tokens `token_ids`, one after the other."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        if not _is_word(token_ids):
            raise GenerationError(f"`token_ids` must be a list of token ids that is not empty, but is {token_ids!r}.")
        self.token_ids = list(token_ids)
        self.seqlen = len(self.token_ids)
        self.reset()

    def reset(self) -> None:
        self.fulfilled_idx, self.completed = -1, False

    def advance(self) -> int | None:
        return None if self.completed else self.token_ids[self.fulfilled_idx + 1]

    def does_advance(self, token_id: int) -> bool:
        return not self.completed and _id(token_id) == self.token_ids[self.fulfilled_idx + 1]

    def update(self, token_id: int) -> tuple[bool, bool, bool]:
        if not self.does_advance(token_id):
            self.reset()
            return False, False, True
        self.fulfilled_idx += 1
        self.completed = self.remaining() == 0
        return True, self.completed, False

    def remaining(self) -> int:
        return self.seqlen - (self.fulfilled_idx + 1)

    def copy(self, stateful: bool = False) -> "PhrasalConstraint":
        made = PhrasalConstraint(self.token_ids)
        if stateful:
            made.fulfilled_idx, made.completed = self.fulfilled_idx, self.completed
        return made


class DisjunctiveConstraint(Constraint):
    """One of the words `nested_token_ids`, each a list of tokens; none may be the beginning of another."""

    def __init__(self, nested_token_ids: Sequence[Sequence[int]]) -> None:
        if not _is_words(nested_token_ids):
            raise GenerationError(
                f"`nested_token_ids` must be a list of lists of token ids, none empty, but is {nested_token_ids!r}."
            )
        self.token_ids = [list(word) for word in nested_token_ids]
        self.seqlen = max(map(len, self.token_ids))
        self.trie: dict[int, Any] = {}
        for word in self.token_ids:
            level = self.trie
            for token in word:
                level = level.setdefault(token, {})
        if _leaves(self.trie) != len(self.token_ids):
            raise GenerationError(
                f"`nested_token_ids` must not hold a word that begins another or comes twice, but is {self.token_ids}."
            )
        self.reset()

    def reset(self) -> None:
        self.current_seq: list[int] = []
        self.completed = False

    def advance(self) -> list[int] | None:
        return list(self._level()) or None

    def does_advance(self, token_id: int) -> bool:
        return _id(token_id) in self._level()

    def update(self, token_id: int) -> tuple[bool, bool, bool]:
        if not self.does_advance(token_id):
            self.reset()
            return False, False, True
        self.current_seq.append(token_id)
        self.completed = not self._level()
        return True, self.completed, False

    def remaining(self) -> int:
        return 0 if self.completed else self.seqlen - len(self.current_seq)

    def copy(self, stateful: bool = False) -> "DisjunctiveConstraint":
        made = DisjunctiveConstraint(self.token_ids)
        if stateful:  # the reference shares the list between the copies, and its ranking of candidates rests on that
            made.current_seq, made.completed = self.current_seq, self.completed
        return made

    def _level(self) -> dict[int, Any]:
        level = self.trie
        for token in self.current_seq:
            level = level[token]
        return level


class ConstraintListState:
    """How far one text is with all of its constraints: `complete_constraints`, at most one in progress, the rest."""

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        self.constraints = list(constraints)
        self.max_seqlen = max(constraint.seqlen for constraint in self.constraints)
        self.n_constraints = len(self.constraints)
        self.init_state()

    def init_state(self) -> None:
        """Forget the text."""
        self.completed = False
        self.complete_constraints: list[Constraint] = []
        self.inprogress_constraint: Constraint | None = None
        self.pending_constraints = [constraint.copy(stateful=False) for constraint in self.constraints]

    def get_bank(self) -> int:
        """How far: the tokens of what is complete, each counted as the longest, and of what is in progress."""
        current = self.inprogress_constraint
        begun = self.max_seqlen - current.remaining() if current is not None else 0
        return len(self.complete_constraints) * self.max_seqlen + begun

    def advance(self) -> list[int] | None:
        """The tokens that bring the text further: those of the constraint in progress, or else of all that wait."""
        current = self.inprogress_constraint
        tokens: list[int] = []
        for constraint in self.pending_constraints if current is None else [current]:
            asked = constraint.advance()
            tokens += asked if isinstance(asked, list) else [] if asked is None else [asked]
        return tokens or None

    def reset(self, token_ids: Sequence[int] | None) -> None:
        """Read a text from its start."""
        self.init_state()
        for token in token_ids or ():
            self.add(token)
            if self.completed:
                break

    def add(self, token_id: int) -> tuple[bool, bool]:
        """Read the next token: (it completed a constraint, it brought one further)."""
        _id(token_id)
        if self.completed:
            return True, False
        complete, stepped = False, False
        if self.inprogress_constraint is not None:
            stepped, complete, reset = self.inprogress_constraint.update(token_id)
            if reset:
                self.pending_constraints.append(self.inprogress_constraint.copy(stateful=False))
                self.inprogress_constraint = None
            elif complete:
                self.complete_constraints.append(self.inprogress_constraint)
                self.inprogress_constraint = None
        else:
            for place, constraint in enumerate(self.pending_constraints):
                if not constraint.does_advance(token_id):
                    continue
                stepped, complete, _ = constraint.update(token_id)
                if not stepped:
                    raise GenerationError(
                        f"{type(constraint).__name__}.update must come further where does_advance is True, but did not."
                    )
                del self.pending_constraints[place]
                if complete:
                    self.complete_constraints.append(constraint)
                else:
                    self.inprogress_constraint = constraint
                break  # one token brings one constraint further
        self.completed = not self.pending_constraints and self.inprogress_constraint is None
        return complete, stepped

    def copy(self, stateful: bool = True) -> "ConstraintListState":
        """The same constraints, and as far as these with `stateful`."""
        made = ConstraintListState(self.constraints)
        if stateful:
            made.complete_constraints = [constraint.copy(stateful=True) for constraint in self.complete_constraints]
            current = self.inprogress_constraint
            made.inprogress_constraint = current.copy(stateful=True) if current is not None else None
            made.pending_constraints = [constraint.copy() for constraint in self.pending_constraints]
            made.completed = self.completed
        return made


def constraints_of(config: Any) -> list[Constraint]:
    """What `constraints` and `force_words_ids` ask for, together."""
    made = list(config.constraints or ())
    for words in config.force_words_ids or ():
        made.append(DisjunctiveConstraint(words) if _is_words(words) else PhrasalConstraint(words))
    return made


def constraint_faults(config: Any) -> list[str]:
    """A sentence for each of `constraints` and `force_words_ids` that is impossible."""
    found = []
    given, words = config.constraints, config.force_words_ids
    if given is not None and not (
        isinstance(given, (list, tuple)) and given and all(isinstance(one, Constraint) for one in given)
    ):
        found.append(f"`constraints` must be a list of Constraint objects that is not empty, but is {given!r}.")
    if words is not None:
        if not (isinstance(words, (list, tuple)) and words and all(_is_word(w) or _is_words(w) for w in words)):
            found.append(
                "`force_words_ids` must be a list of words (lists of token ids) or of lists of words of which one is "
                f"enough, but is {words!r}."
            )
        else:
            try:
                constraints_of(config)
            except (GenerationError, TypeError) as error:
                found.append(f"`force_words_ids`: {error}")
    return found


def _is_word(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(isinstance(token, int) and not isinstance(token, bool) and token >= 0 for token in value)
    )


def _is_words(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(_is_word(word) for word in value)


def _leaves(trie: dict[int, Any]) -> int:
    return sum(_leaves(level) for level in trie.values()) if trie else 1


def _id(token_id: int) -> int:
    if not isinstance(token_id, int):
        raise TypeError(f"A token id must be an int, but is {token_id!r}.")
    return token_id
