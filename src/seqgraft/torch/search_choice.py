"""Which search a call runs, and what it is given: `generation.modes` says which the settings ask for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.config import GenerationConfig
from seqgraft.generation.constraints import constraints_of
from seqgraft.generation.modes import argument_clashes, clashes, mode_of
from seqgraft.generation.resolve import SpecialIds
from seqgraft.generation.streamers import BaseStreamer
from seqgraft.torch.candidates import Drafting
from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.search import Decoder, FoundBeams, FoundRows, Record, State
from seqgraft.torch.search_agreed import Agreed
from seqgraft.torch.search_beams import search_beams
from seqgraft.torch.search_constrained import search_constrained
from seqgraft.torch.search_contrastive import search_contrastive
from seqgraft.torch.search_groups import search_groups
from seqgraft.torch.search_rows import search_rows
from seqgraft.torch.speculation import search_assisted
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
    prompt_mask: Tensor | None = None
    drafting: Drafting | None = None


def _rows(request: Request) -> FoundRows:
    return _some_rows(search_rows, request, sample=request.config.do_sample)


def _assisted(request: Request) -> FoundRows:
    if request.drafting is None:
        raise GenerationError("Assisted search needs what drafts its tokens, but there is none.")
    return _some_rows(search_assisted, request, drafting=request.drafting, sample=request.config.do_sample)


def _contrastive(request: Request) -> FoundRows:
    return _some_rows(
        search_contrastive,
        request,
        penalty_alpha=request.config.penalty_alpha,
        top_k=request.config.top_k,
        prompt_mask=request.prompt_mask,
        low_memory=request.config.low_memory,
    )


def _some_rows(search: Callable[..., FoundRows], request: Request, **own: Any) -> FoundRows:
    if request.streamer is not None:
        request.streamer.put(request.prompt.cpu())
    return search(
        request.decoder,
        request.state,
        request.prompt,
        processors=request.processors,
        stopping=request.stopping,
        record=request.record,
        pad_token_id=request.ids.pad,
        streamer=request.streamer,
        **own,
    )


def _beams(request: Request) -> FoundBeams:
    return _some_beams(search_beams, request, sample=request.config.do_sample)


def _groups(request: Request) -> FoundBeams:
    return _some_beams(search_groups, request, groups=request.config.num_beam_groups)


def _constrained(request: Request) -> FoundBeams:
    return _some_beams(search_constrained, request, constraints=constraints_of(request.config))


def _some_beams(search: Callable[..., FoundBeams], request: Request, **own: Any) -> FoundBeams:
    fill, agreed = request.ids.pad if request.ids.pad is not None else 0, None
    if request.streamer is not None:
        agreed = Agreed(request.streamer, request.prompt[:: request.config.num_beams], fill)
        first_end = next(iter(request.stopping.eos_token_ids), None)
        own["watch"] = agreed.beams if search is search_beams else partial(agreed.pools, first_end=first_end)
    found = search(
        request.decoder,
        request.state,
        request.prompt,
        beams=request.config.num_beams,
        returned=request.config.num_return_sequences,
        processors=request.processors,
        stopping=request.stopping,
        record=request.record,
        fill=fill,
        length_penalty=request.config.length_penalty,
        early_stopping=request.config.early_stopping,
        **own,
    )
    if agreed is not None:
        agreed.end(found.ids)
    return found


_SEARCHES: dict[str, Callable[[Request], FoundRows | FoundBeams]] = {
    "assisted": _assisted,
    "constrained": _constrained,
    "groups": _groups,
    "contrastive": _contrastive,
    "beams": _beams,
    "rows": _rows,
}


@dataclass(frozen=True)
class Mode:
    """A search: its name in `generation.modes`, what runs it, and how many rows of a source it is given."""

    name: str
    search: Callable[[Request], FoundRows | FoundBeams]
    rows_per_source: int

    @property
    def mixes(self) -> bool:
        """Whether the rows of a source are reordered among themselves."""
        return self.name not in ("rows", "assisted")

    @property
    def ranks(self) -> bool:
        """Whether it keeps several hypotheses of a source."""
        return self.name in ("beams", "groups", "constrained")

    @property
    def needs_states(self) -> bool:
        """Whether it looks at the decoder's states."""
        return self.name == "contrastive"


def chosen(config: GenerationConfig, arguments: Mapping[str, Any]) -> Mode:
    """The mode that the settings and the arguments of the call (those that are not None) ask for.

    Raises GenerationError when they cannot go together.
    """
    name = mode_of(config, arguments)
    if name == "assisted" and (found := list(clashes(config, arguments))):
        raise GenerationError(" ".join(found))
    if found := list(argument_clashes(config, arguments)):
        raise GenerationError(" ".join(found))
    return Mode(name, _SEARCHES[name], max(config.num_beams, config.num_return_sequences))
