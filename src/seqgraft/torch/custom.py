"""`generate(custom_generate=...)`: a search of the caller's own, given what a call has prepared."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.config import GenerationConfig
from seqgraft.generation.outputs import BaseModelOutput
from seqgraft.generation.resolve import SpecialIds
from seqgraft.generation.stopping import EosTokenCriteria, MaxLengthCriteria, StoppingCriteriaList
from seqgraft.torch.generate_source import Source
from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.search_prompt import Prompt
from seqgraft.torch.stopping import Stopping

_GIVEN = ("model", "input_ids", "logits_processor", "stopping_criteria", "generation_config", "streamer")


def own_arguments(function: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take out of `kwargs` what the function names and `generate` does not know; GenerationError for no function."""
    if function is None:
        return {}
    if not callable(function):
        raise GenerationError(
            f"`custom_generate` must be a function: code of a hub's repository is not run, but it is {function!r}."
        )
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)][1:]
    return {name: kwargs.pop(name) for name in names if name in kwargs and name not in _GIVEN}


def run_custom(
    function: Callable[..., Any],
    model: Any,
    rows: Prompt,
    source: Source | None,
    config: GenerationConfig,
    ids: SpecialIds,
    processors: LogitsProcessorList,
    stopping: Stopping,
    own: Mapping[str, Any],
) -> Any:
    """What the function makes of prompts rows [rows, time], called as in the field.

    `function(model, input_ids, logits_processor=, stopping_criteria=, generation_config=, **inputs)`: the inputs are
    `attention_mask` and, of a pair, `encoder_outputs` (one row for each of the prompts'), and the caller's own.
    """
    criteria = StoppingCriteriaList([MaxLengthCriteria(stopping.max_length)])
    criteria += [EosTokenCriteria(stopping.eos_token_ids)] if stopping.eos_token_ids else []
    criteria += stopping.others
    for name, value in (("pad", ids.pad), ("eos", ids.eos or None), ("bos", ids.bos)):
        made = None if value is None else torch.tensor(value, device=rows.ids.device)
        setattr(config, f"_{name}_token_tensor", made)
    return function(
        model,
        rows.ids,
        logits_processor=processors,
        stopping_criteria=criteria,
        generation_config=config,
        **_inputs(rows, source),
        **own,
    )


def _inputs(rows: Prompt, source: Source | None) -> dict[str, Any]:
    if source is None:
        return {"attention_mask": torch.ones_like(rows.ids) if rows.mask is None else rows.mask}
    times = len(rows.ids) // source.sources

    def repeated(value: Tensor) -> Tensor:
        return value.repeat_interleave(times, dim=0)

    states = repeated(source.outputs.last_hidden_state)
    shown = torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
    inputs = {
        "encoder_outputs": BaseModelOutput(states),
        "attention_mask": shown if source.mask is None else repeated(source.mask),
    }
    return inputs if rows.mask is None else {**inputs, "decoder_attention_mask": rows.mask}
