"""Which search the settings ask for, and what each is given.

The modes, the first that is asked for wins: `assisted` (`assistant_model`, `prompt_lookup_num_tokens`), `constrained`
(`constraints`, `force_words_ids`), `groups` (`num_beam_groups`), `contrastive` (`penalty_alpha` with `top_k`), `beams`
(`num_beams`), `rows` (greedy search and sampling).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.config import GenerationConfig
from seqgraft.generation.resolve import SpecialIds
from seqgraft.generation.streamers import BaseStreamer
from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.search import Decoder, FoundBeams, FoundRows, Record, State
from seqgraft.torch.search_beams import search_beams
from seqgraft.torch.search_rows import search_rows
from seqgraft.torch.stopping import Stopping


@dataclass(frozen=True)
class Request:
    """What a search is asked to do; `prompt [sources * rows_per_source, time]`."""

    decoder: Decoder
    state: State
    prompt: Tensor
    config: GenerationConfig
    ids: SpecialIds
    processors: LogitsProcessorList
    stopping: Stopping
    record: Record
    streamer: BaseStreamer | None = None


def _rows(request: Request) -> FoundRows:
    if request.streamer is not None:
        request.streamer.put(request.prompt.cpu())
    return search_rows(
        request.decoder,
        request.state,
        request.prompt,
        processors=request.processors,
        stopping=request.stopping,
        record=request.record,
        sample=request.config.do_sample,
        pad_token_id=request.ids.pad,
        streamer=request.streamer,
    )


def _beams(request: Request) -> FoundBeams:
    return search_beams(
        request.decoder,
        request.state,
        request.prompt,
        beams=request.config.num_beams,
        returned=request.config.num_return_sequences,
        processors=request.processors,
        stopping=request.stopping,
        record=request.record,
        sample=request.config.do_sample,
        fill=request.ids.pad if request.ids.pad is not None else 0,
        length_penalty=request.config.length_penalty,
        early_stopping=request.config.early_stopping,
    )


@dataclass(frozen=True)
class Mode:
    """A search: the settings that ask for it (`asked` of settings and arguments), and what runs it."""

    name: str
    asked: Callable[[Any, Mapping[str, Any]], bool]
    search: Callable[[Request], FoundRows | FoundBeams]
    rows_per_source: Callable[[Any], int]


MODES = (
    Mode("beams", lambda config, arguments: config.num_beams > 1, _beams, lambda config: int(config.num_beams)),
    Mode("rows", lambda config, arguments: True, _rows, lambda config: int(config.num_return_sequences)),
)


def chosen(config: GenerationConfig, arguments: Mapping[str, Any]) -> Mode:
    """The mode that the settings and the arguments of the call (those that are not None) ask for.

    Raises GenerationError when they cannot go together.
    """
    mode = next(mode for mode in MODES if mode.asked(config, arguments))
    if arguments.get("streamer") is not None and mode.name != "rows":
        raise GenerationError(f"`streamer` needs `num_beams` to be 1, but it is {config.num_beams}.")
    return mode
