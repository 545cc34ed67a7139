"""What XLNet has beyond the suite: segments, dropout of distances, its causal body alone, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch

import seqgraft
from seqgraft.errors import ConfigurationError, SpecError
from seqgraft.spec import Disentangled, Distances

from ..families.rows import BY_NAME, batch, distance, reference_model
from .test_family_mathematics import BOUND, real, same_dropout

ROW = BY_NAME["xlnet-clamped"]
TYPES = torch.tensor([[0, 0, 1, 1, 1, 1, 2, 0, 2], [1, 1, 1, 1, 0, 0, 0, 0, 0], [0] * 9])


@pytest.mark.parametrize("padding", ["none", "left"])
@pytest.mark.parametrize("side", ["encoder", "decoder"])
@torch.no_grad()
def test_segments(made: Any, side: str, padding: str) -> None:
    """Of a type of its own or not: that is all that a key's type says, so one type everywhere says nothing."""
    theirs, ours, inputs = made.theirs(ROW, side), made.ours(ROW, side), batch(padding, pad=5)
    mask = inputs.get("attention_mask")
    own, plain = ours(**inputs, token_type_ids=TYPES)[0], ours(**inputs)[0]
    assert distance(*real(mask, own, theirs(**inputs, token_type_ids=TYPES)[0])) < BOUND
    assert distance(own[:2], plain[:2]) > 1e-3
    assert distance(own[2:], plain[2:]) < BOUND


@torch.no_grad()
def test_segments_after_a_past(made: Any) -> None:
    """The reference takes the past's types for 0."""
    ours, ids = made.ours(ROW, "decoder"), batch()["input_ids"]
    types = TYPES.clone()
    types[:, :6] = 0
    full = ours(ids, token_type_ids=types).logits
    first = ours(ids[:, :6], use_cache=True)
    last = ours(ids[:, 6:], token_type_ids=types[:, 6:], past_key_values=first.past_key_values).logits
    assert distance(last, full[:, 6:]) < BOUND


def test_gradients_of_segments(made: Any) -> None:
    ours, theirs = made.ours(ROW, "encoder"), reference_model(ROW, "encoder")
    weights = torch.randn(3, 9, 32)
    for model in (ours, theirs):
        (model(batch()["input_ids"], token_type_ids=TYPES)[0] * weights).sum().backward()
    for index, layer in enumerate(theirs.layer):
        for name, other in (("segments", "seg_embed"), ("segment_bias", "r_s_bias"), ("position_bias", "r_r_bias")):
            own = ours.get_parameter(f"layers.{index}.self_attention.disentangled.{name}").grad
            assert distance(own, getattr(layer.rel_attn, other).grad) < BOUND


def test_dropout_stands_where_the_reference_has_it(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one text: the reference drops distances for each text apart, ours for all of a batch alike."""
    monkeypatch.setattr(torch.nn.functional, "dropout", same_dropout)
    ids = batch()["input_ids"][:1]
    for side, asked in (("encoder", {}), ("decoder", {"perm_mask": torch.ones(1, 9, 9).triu(1)})):
        ours = made.ours(ROW, side, dropout=0.4, attn_implementation="eager").train()
        theirs = reference_model(ROW, side, dropout=0.4, attn_type="bi").train()
        assert distance(ours(ids)[0], theirs(ids, **asked)[0]) < BOUND


@torch.no_grad()
def test_a_causal_body_alone(made: Any) -> None:
    row = replace(ROW, config={**ROW.config, "attn_type": "uni"}, name="xlnet-uni-body")
    theirs, ids = made.theirs(row, "encoder"), batch()["input_ids"]
    assert distance(made.ours(row, "encoder")(ids)[0], theirs(ids)[0]) < BOUND
    folders = str(made.folder(row, "encoder")), str(made.folder(ROW, "decoder"))
    with pytest.raises(ConfigurationError, match=r"must see its whole source, but is causal.*`is_causal=False`"):
        seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(*folders)
    pair = seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(*folders, encoder_is_causal=False)
    short = seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(*folders, encoder_causal=False)
    assert torch.equal(short.encoder(ids)[0], pair.encoder(ids)[0])
    with pytest.raises(TypeError, match="`encoder_causal` and `encoder_is_causal` mean the same"):
        seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(
            *folders, encoder_causal=False, encoder_is_causal=False
        )
    both = made.theirs(replace(row, config=ROW.config, name="xlnet-bi-body"), "encoder")
    for ours in (made.ours(row, "encoder", is_causal=False), pair.encoder):
        assert distance(ours(ids)[0], both(ids)[0]) < BOUND


@torch.no_grad()
def test_searches_of_a_grafted_pair(made: Any) -> None:
    """Distances tell slots apart, so rows keep slots of their own: a search finds what full passes say."""
    pair = seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(
        str(made.folder(BY_NAME["xlnet"], "encoder")), str(made.folder(ROW, "decoder")), decoder_graft={"gate": None}
    )
    settings = {"decoder_start_token_id": 1, "eos_token_id": 60, "pad_token_id": 5, "max_new_tokens": 9}
    inputs = batch("left", pad=5)
    written = torch.full((3, 1), 1)
    for _ in range(9):
        chosen = pair(**inputs, decoder_input_ids=written, use_cache=False).logits[:, -1:].argmax(-1)
        written = torch.cat((written, chosen), 1)
    assert not (written == 60).any()
    for search in ({}, {"prompt_lookup_num_tokens": 3}):
        assert torch.equal(pair.generate(**inputs, **settings, **search), written)
    asked = {"return_dict_in_generate": True, "output_scores": True, "length_penalty": 0.0, "min_new_tokens": 9}
    found = pair.generate(**inputs, **settings, num_beams=3, **asked)
    full = pair(**inputs, decoder_input_ids=found.sequences[:, :-1], use_cache=False).logits.log_softmax(-1)
    sums = full.gather(-1, found.sequences[:, 1:, None]).squeeze(-1).sum(1)
    assert distance(found.sequences_scores, sums) < BOUND


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attn_type": "both"}, "`attn_type` must be 'bi' or 'uni'"),
        ({"bi_data": True}, "`bi_data` must be False"),
        ({"attn_type": "uni", "same_length": True}, "`same_length` must be False"),
        ({"d_head": 3}, "`d_head` must be 8"),
        ({"n_head": 5}, "`n_head` must divide `d_model`"),
        ({"untie_r": False}, "`untie_r` must be True"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        seqgraft.XLNetConfig(**{**ROW.config, **fields})
    seqgraft.XLNetConfig(**ROW.config, untie_r=True, same_length=True)


def test_specs_that_make_no_sense() -> None:
    for make, message in (
        (lambda: Distances(None), "Distances.span must be a number where the table is learned"),
        (lambda: Distances(8, 9, kind="sines"), "Distances.longest must be None"),
        (lambda: Distances(8, kind="cosines"), "Distances.kind must be one of learned, sines"),  # type: ignore[arg-type]
        (lambda: Disentangled(True, False, segments=True), "Disentangled.segments needs query_biases"),
        (lambda: Disentangled(False, True, query_biases=True), "needs content_to_position"),
    ):
        with pytest.raises(SpecError, match=message):
            make()
