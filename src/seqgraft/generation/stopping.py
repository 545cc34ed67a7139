"""When a row ends. Written with operators that arrays of every framework have, so that one set of classes serves all.

A criterion is called with the ids so far `[rows, time]` and the scores of every step (or None), and answers for each
row, `[rows]` of truth values, or for all at once, one truth value.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


class StoppingCriteria(ABC):
    """Base of the criteria; any callable of the same signature serves as well."""

    @abstractmethod
    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """`[rows]` of truth values: these rows end here; or one for all."""


class MaxLengthCriteria(StoppingCriteria):
    """Ends every row at `max_length` tokens, the prompt counted."""

    def __init__(self, max_length: int, max_position_embeddings: int | None = None) -> None:
        self.max_length = max_length
        self.max_position_embeddings = max_position_embeddings

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> bool:
        return bool(input_ids.shape[-1] >= self.max_length)


class MaxTimeCriteria(StoppingCriteria):
    """Ends every row `max_time` seconds after it was made (or after `initial_timestamp`)."""

    def __init__(self, max_time: float, initial_timestamp: float | None = None) -> None:
        self.max_time = max_time
        self.initial_timestamp = time.time() if initial_timestamp is None else initial_timestamp

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> bool:
        return time.time() - self.initial_timestamp > self.max_time


class EosTokenCriteria(StoppingCriteria):
    """Ends a row whose last token is one of `eos_token_id`."""

    def __init__(self, eos_token_id: int | Sequence[int]) -> None:
        ids = eos_token_id.tolist() if hasattr(eos_token_id, "tolist") else eos_token_id
        self.eos_token_id = [ids] if isinstance(ids, int) else list(ids)

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        last = input_ids[:, -1]
        done = last != last
        for token in self.eos_token_id:
            done = done | (last == token)
        return done


class StoppingCriteriaList(list[Any]):
    """Criteria of which any one ends a row."""

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        last = input_ids[:, -1]
        done = last != last  # [rows], all false, in the ids' framework
        for criterion in self:
            done = done | criterion(input_ids, scores, **kwargs)
        return done

    @property
    def max_length(self) -> int | None:
        """The length at which every row ends, if one of the criteria says so."""
        return next((c.max_length for c in self if isinstance(c, MaxLengthCriteria)), None)
