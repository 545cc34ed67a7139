"""Does the decoder see the encoder and never the future, whatever stands beside the text and however it is cached?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqgraft.spec import Stack
from seqgraft.torch.cache import EncoderDecoderCache
from seqgraft.torch.probe import Probe, difference, of_gates, opened, wide
from seqgraft.torch.report import Finding

_PADDING = 3


def _share(value: float) -> str:
    return f"{value:.1e} of the largest logit"


def encoder_is_seen(probe: Probe) -> Finding:
    """Another source gives other logits."""
    with opened(probe.model) as count:
        moved = difference(probe.logits(), probe.logits(source=probe.source.flip(0)))
    told = f"another source moves the logits by {_share(moved)}{of_gates(count)}"
    advice = (
        "The decoder ignores its encoder, so training would teach a language model alone: look for cross-attention "
        "whose weights are zero, and compose the pair anew with from_encoder_decoder_pretrained."
    )
    return Finding("encoder", moved > probe.moved, told, advice)


def future_is_not(probe: Probe) -> Finding:
    """The tokens after a position do not move its logits."""
    place = probe.target.shape[1] // 2
    other = probe.target.clone()
    other[:, place:] = probe.target.flip(0)[:, place:]
    leak = difference(probe.logits()[:, :place], probe.logits(target=other)[:, :place])
    advice = (
        "The decoder sees the tokens that it is to predict, so its loss would mean nothing: its spec must be causal "
        "(`is_decoder=True` in the decoder's configuration)."
    )
    return Finding("future", leak <= probe.apart, f"later tokens move earlier logits by {_share(leak)}", advice)


def source_padding(probe: Probe) -> Finding:
    """Padding of the source, on either side, changes no logit."""
    pad, spec = _pad(probe.model.config.encoder.pad_token_id, probe.source), getattr(probe.model.encoder, "spec", None)
    found: dict[str, float] = {}
    remark = ""
    with opened(probe.model):
        plain = probe.logits()
        for side in ("right", "left"):
            if side == "left" and spec is None:
                remark = "; on the left it was not tried, since nothing is known of the encoder's positions"
                continue
            ids, mask = _padded(probe.source, pad, side)
            rows = _rows(spec, mask) if side == "left" else None
            if rows is not None:
                remark = "; on the left this encoder needs `position_ids`, so pad sources on the right"
            found[side] = difference(plain, probe.logits(source=ids, attention_mask=mask, position_ids=rows))
    return _padding("source padding", "attention_mask", found, probe, remark)


def target_padding(probe: Probe) -> Finding:
    """Padding of the target, on either side, changes no logit of the target."""
    pad = _pad(probe.model.config.special("pad_token_id"), probe.target)
    plain = probe.logits()
    found: dict[str, float] = {}
    remark = ""
    for side in ("right", "left"):
        ids, mask = _padded(probe.target, pad, side)
        rows = _rows(probe.model.decoder.spec, mask) if side == "left" else None
        if rows is not None:
            remark = "; on the left this decoder needs `decoder_position_ids`, so pad targets on the right"
        logits = probe.logits(target=ids, decoder_attention_mask=mask, decoder_position_ids=rows)
        kept = logits[:, : plain.shape[1]] if side == "right" else logits[:, -plain.shape[1] :]
        found[side] = difference(plain, kept)
    return _padding("target padding", "decoder_attention_mask", found, probe, remark)


def _padding(name: str, mask: str, found: dict[str, float], probe: Probe, remark: str) -> Finding:
    told = ", ".join(f"{side} {share:.1e}" for side, share in found.items())
    advice = (
        f"What `{mask}` hides must change nothing, or a text's result depends on the batch that it is in: look for "
        "a module that does not pass the mask on."
    )
    passed = all(share <= probe.apart for share in found.values())
    return Finding(name, passed, f"padding moves the logits by {told} of the largest{remark}", advice)


def cached_equals_full(probe: Probe) -> Finding:
    """Steps with a cache give the logits of one full pass."""
    with opened(probe.model):
        full = probe.logits()
        memory, mask = probe.memory(), torch.ones_like(probe.source)
        cache = EncoderDecoderCache(len(probe.model.decoder.layers))
        made: list[Tensor] = []
        with torch.no_grad():
            for start, stop in [(0, 2), *((i, i + 1) for i in range(2, probe.target.shape[1]))]:
                out: Any = probe.model(
                    encoder_outputs=memory,
                    attention_mask=mask,
                    decoder_input_ids=probe.target[:, start:stop],
                    past_key_values=cache,
                    use_cache=True,
                    return_dict=True,
                )
                made.append(wide(out.logits))
    apart = difference(full, torch.cat(made, 1))
    advice = (
        "`generate` would compute something else than training does: look for a module of the decoder that was "
        "replaced or patched and does not know of its cache."
    )
    return Finding("cache", apart <= probe.apart, f"steps and one full pass differ by {_share(apart)}", advice)


def _pad(pad: int | None, ids: Tensor) -> int:
    """The padding id, or an ordinary one where there is none: the mask hides it."""
    return pad if isinstance(pad, int) else int(ids[1, 1])


def _padded(ids: Tensor, pad: int, side: str) -> tuple[Tensor, Tensor]:
    """ids [rows, time] and their mask with padding on one side, both [rows, time + padding]."""
    fill = ids.new_full((len(ids), _PADDING), pad)
    shown, hidden = torch.ones_like(ids), torch.zeros_like(fill)
    if side == "right":
        return torch.cat((ids, fill), 1), torch.cat((shown, hidden), 1)
    return torch.cat((fill, ids), 1), torch.cat((hidden, shown), 1)


def _rows(spec: Stack | None, mask: Tensor) -> Tensor | None:
    """Positions that start where the text does, for a stack that would count padding too; None for any other."""
    positions = spec.positions if spec is not None else None
    places = (mask.cumsum(1) - 1).clamp(min=0)
    if positions is None or positions.counted != "all":
        turns = (layer.self_attention.rotary for layer in spec.layers) if spec is not None else ()
        # A value that is turned tells where it stands, and not how far away alone.
        return places if positions is None and any(turn is not None and turn.values for turn in turns) else None
    return places if positions.given == "places" else places + positions.offset
