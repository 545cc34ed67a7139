"""A mark in the choice of words: every step favours a "green" part of the vocabulary that the ids before it seed.

Kirchenbauer et al. 2023 (https://arxiv.org/abs/2301.10226) and its schemes (https://arxiv.org/abs/2306.04634). Seeds
and permutations are the field's, so that what `transformers` marks is found here, and the other way round.
"""

import math
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.watermarking import WatermarkingConfig, faults
from seqgraft.torch.processors.base import LogitsProcessor

_TABLE = 1_000_003  # the prime that the selfhash scheme counts modulo
_SEEDS = 2**64 - 1
_CANDIDATES = 40  # the best tokens of a row that the selfhash scheme tries, as in the authors' program
_KEPT = 128


class WatermarkLogitsProcessor(LogitsProcessor):
    """Adds `bias` to the green tokens of every row.

    `greenlist_ratio` of the vocabulary is green. With "lefthash" the last token seeds them; with "selfhash" the last
    `context_width` tokens do, the one to be chosen among them, which is tried for the best 40.
    """

    def __init__(
        self,
        vocab_size: int,
        device: Any = None,
        greenlist_ratio: float = 0.25,
        bias: float = 2.0,
        hashing_key: int = 15485863,
        seeding_scheme: str = "lefthash",
        context_width: int = 1,
    ) -> None:
        found = list(faults(greenlist_ratio, bias, hashing_key, seeding_scheme, context_width))
        if found:
            raise GenerationError(" ".join(found))
        self.vocab_size = vocab_size
        self.greenlist_size = int(vocab_size * greenlist_ratio)
        self.bias = bias
        self.hash_key = hashing_key
        self.seeding_scheme = seeding_scheme
        self.context_width = context_width
        self.rng = torch.Generator(device=device or "cpu")
        self._table: Tensor | None = None  # [_TABLE]
        self._green: OrderedDict[int, Tensor] = OrderedDict()  # seed -> which tokens are green, [vocab]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[-1] < self.context_width:
            warnings.warn(
                f"The watermark needs {self.context_width} tokens to begin with, but a row has {input_ids.shape[-1]}: "
                "this step is not marked.",
                stacklevel=2,
            )
            return scores
        if self.seeding_scheme == "lefthash":
            green = torch.stack([self.green(seed) for seed in self.seeds(input_ids)]).to(scores.device)
            bias = _biased(green, self.bias, scores)
            return torch.cat((scores[:, : self.vocab_size] + bias, scores[:, self.vocab_size :]), dim=-1)
        best = scores.sort(dim=-1, descending=True).indices[:, :_CANDIDATES]
        context = input_ids[:, None, input_ids.shape[1] + 1 - self.context_width :].expand(-1, best.shape[1], -1)
        tried = torch.cat((context, best[..., None]), dim=-1).flatten(0, 1)  # [rows * candidates, context]
        hits = [self.green(seed)[token] for seed, token in zip(self.seeds(tried), tried[:, -1].tolist(), strict=True)]
        green = torch.stack(hits).view_as(best).to(scores.device)
        return scores.scatter_add(1, best, _biased(green, self.bias, scores))

    def seeds(self, ids: Tensor) -> list[int]:
        """The seed of each row of ids [rows, time]."""
        if self.seeding_scheme == "lefthash":
            return [self.hash_key * last % _SEEDS for last in ids[:, -1].tolist()]
        if self._table is None:
            self.rng.manual_seed(self.hash_key)
            self._table = torch.randperm(_TABLE, generator=self.rng, device=self.rng.device)
        table = self._table.to(ids.device)
        context = table[ids[:, -self.context_width :] % _TABLE] + 1
        hashed = self.hash_key * context * context[:, -1:]  # wraps around, as the field's does
        return [seed % _SEEDS for seed in hashed.amin(dim=-1).tolist()]

    def green(self, seed: int) -> Tensor:
        """Which tokens a seed makes green, [vocab] of truth values; the last few seeds are remembered."""
        found = self._green.pop(seed, None)
        if found is None:
            self.rng.manual_seed(seed)
            order = torch.randperm(self.vocab_size, device=self.rng.device, generator=self.rng)
            found = torch.zeros(self.vocab_size, dtype=torch.bool, device=self.rng.device)
            found[order[: self.greenlist_size]] = True
            if len(self._green) >= _KEPT:
                self._green.popitem(last=False)
        self._green[seed] = found
        return found


def _biased(green: Tensor, bias: float, scores: Tensor) -> Tensor:
    """`bias` where `green`, 0 elsewhere, in the type of the scores."""
    return green.to(scores.dtype) * bias


@dataclass
class WatermarkDetectorOutput:
    """What a detector found, an array [rows] each; the z-score counts standard deviations above an unmarked text."""

    num_tokens_scored: Any = None
    num_green_tokens: Any = None
    green_fraction: Any = None
    z_score: Any = None
    p_value: Any = None
    prediction: Any = None
    confidence: Any = None


class WatermarkDetector:
    """Tells whether ids carry the mark of a `WatermarkingConfig`.

    Args:
        model_config: of the model that wrote the ids: its vocabulary and its first token.
        device: where they were made: a GPU permutes otherwise than a CPU.
        watermarking_config: the settings that they were made with, an object or a mapping.
        ignore_repeated_ngrams: count every window of ids once.
        max_cache_size: taken for the field's sake; the last 128 seeds are remembered.
    """

    def __init__(
        self,
        model_config: Any,
        device: Any,
        watermarking_config: WatermarkingConfig | Mapping[str, Any],
        ignore_repeated_ngrams: bool = False,
        max_cache_size: int = _KEPT,
    ) -> None:
        settings = WatermarkingConfig.of(watermarking_config)
        pair = bool(getattr(model_config, "is_encoder_decoder", False))
        self.bos_token_id = model_config.decoder_start_token_id if pair else model_config.bos_token_id
        self.greenlist_ratio = settings.greenlist_ratio
        self.ignore_repeated_ngrams = ignore_repeated_ngrams
        vocab = getattr(model_config, "vocab_size", None) or model_config.decoder.vocab_size
        self.processor = WatermarkLogitsProcessor(vocab, device, **settings.to_dict())

    def __call__(
        self, input_ids: Tensor, z_threshold: float = 3.0, return_dict: bool = False
    ) -> WatermarkDetectorOutput | np.ndarray[Any, Any]:
        """ids [rows, time] -> whether each row is marked, [rows]; or all that was found, with `return_dict`.

        A first token that is the decoder's start is left out. Raises GenerationError when only some rows have it, and
        when nothing is left to count.
        """
        starts = input_ids[:, 0] == self.bos_token_id
        if bool(starts.any()) != bool(starts.all()):
            raise GenerationError(
                f"`input_ids` must begin with the first token ({self.bos_token_id}) in all rows or in none, but "
                f"{int(starts.sum())} of {len(starts)} rows do."
            )
        if bool(starts.all()):
            input_ids = input_ids[:, 1:]
        width = self.processor.context_width
        if input_ids.shape[-1] <= width:
            raise GenerationError(
                f"`input_ids` must have at least {width + 1} tokens after the start (`context_width` is {width}), but "
                f"has {input_ids.shape[-1]}."
            )
        scored, green = np.array([self._counted(row) for row in input_ids], dtype=np.float64).T
        ratio = self.greenlist_ratio
        z_score = (green - ratio * scored) / np.sqrt(scored * ratio * (1 - ratio))
        prediction: np.ndarray[Any, Any] = z_score > z_threshold
        if not return_dict:
            return prediction
        p_value = 0.5 * torch.special.erfc(torch.from_numpy(z_score / math.sqrt(2))).numpy()
        return WatermarkDetectorOutput(scored, green, green / scored, z_score, p_value, prediction, 1 - p_value)

    def _counted(self, ids: Tensor) -> tuple[int, int]:
        """ids [time] -> (tokens that count, those of them that are green)."""
        processor = self.processor
        itself = processor.seeding_scheme == "selfhash"
        windows = ids.unfold(0, processor.context_width + (not itself), 1)
        windows, counts = torch.unique(windows, dim=0, return_counts=True)
        seeds = processor.seeds(windows if itself else windows[:, :-1])
        targets = windows[:, -1].tolist()
        green = torch.stack([processor.green(seed)[token] for seed, token in zip(seeds, targets, strict=True)])
        if self.ignore_repeated_ngrams:
            counts = torch.ones_like(counts)
        return int(counts.sum()), int(counts[green.to(counts.device)].sum())
