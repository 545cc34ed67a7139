"""Every family computes what the reference computes: states, attentions, logits, gradients, dropout."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from seqgraft.families.naming import plan_writing
from seqgraft.torch.weights import assembled

from ..families.rows import ROWS, VOCABULARY, Row, batch, distance, encoder_of, pad_of, reference_model

BOUND = 1e-5
"""Relative to the largest value."""

ENCODERS = [
    pytest.param(row, both, id=f"{row.name}{'-both-ways' * both}")
    for row in ROWS
    if row.body
    for both in ((False, True) if row.sees_back else (False,))
]
DECODERS = [
    pytest.param(row, cross, id=f"{row.name}{'-cross' * cross}")
    for row in ROWS
    if row.causal
    for cross in ((False, True) if row.cross and row.cross_works else (False,))
]
PADDINGS = ["none", "right", "left"]


def real(mask: torch.Tensor | None, *tensors: torch.Tensor) -> list[torch.Tensor]:
    """Where the mask shows a token; elsewhere a causal row may see nothing, and its states mean nothing."""
    return list(tensors) if mask is None else [t[mask.bool()] for t in tensors]


def memory(time: int = 6) -> dict[str, torch.Tensor]:
    """An encoder's states, a part of them hidden."""
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones(3, time, dtype=torch.long)
    mask[1, 4:] = 0
    mask[2, 1:] = 0
    return {
        "encoder_hidden_states": torch.randn(3, time, 32, generator=generator),
        "encoder_attention_mask": mask,
    }


def compare(ours: Any, theirs: Any, mask: torch.Tensor | None, attentions: bool) -> None:
    """Everything that both say, position by position."""
    first = "logits" if hasattr(ours, "logits") else "last_hidden_state"
    assert distance(*real(mask, ours[first], theirs[first])) < BOUND
    assert len(ours.hidden_states) == len(theirs.hidden_states)
    for own, other in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert distance(*real(mask, own, other)) < BOUND
    if not attentions:
        return
    for name in ("attentions", "cross_attentions"):
        own, other = ours.get(name), [one for one in theirs.get(name) or () if one is not None]
        assert (own is None) == (not other), name
        for one, two in zip(own or (), other or (), strict=True):
            assert one.shape == two.shape
            assert distance(*real(mask, one.transpose(1, 2), two.transpose(1, 2))) < BOUND


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("row", "both"), ENCODERS)
@torch.no_grad()
def test_encoder(made: Any, row: Row, both: bool, padding: str, attention: str) -> None:
    theirs = encoder_of(made.theirs(row, "encoder", both_ways=both))
    ours = made.ours(row, "encoder", both_ways=both, attn_implementation=attention)
    inputs = batch(padding, pad=pad_of(row))
    asked = {"output_hidden_states": True, "output_attentions": attention == "eager"}
    mine, other = ours(**inputs, **asked), theirs(**inputs, **asked)
    # Seen both ways, every row sees the real tokens, and padding's states are the reference's too; but in a window
    # or under a causal mask a padded position may see nothing.
    mask = inputs.get("attention_mask") if row.sees_back or not row.shows_padding else None
    compare(mine, other, mask, attention == "eager")
    pooled = getattr(other, "pooler_output", None)
    assert (pooled is None) == (getattr(mine, "pooler_output", None) is None)
    if pooled is not None and (row.shows_padding or padding != "left"):
        assert distance(mine.pooler_output, pooled) < BOUND


@pytest.mark.parametrize(("row", "both"), ENCODERS)
@torch.no_grad()
def test_a_long_text(made: Any, row: Row, both: bool) -> None:
    """So long that distances share buckets."""
    inputs = batch("right", time=64, pad=pad_of(row))
    theirs, ours = encoder_of(made.theirs(row, "encoder", both_ways=both)), made.ours(row, "encoder", both_ways=both)
    assert distance(*real(inputs["attention_mask"], ours(**inputs)[0], theirs(**inputs)[0])) < BOUND


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("row", "cross"), DECODERS)
@torch.no_grad()
def test_decoder(made: Any, row: Row, cross: bool, padding: str, attention: str) -> None:
    theirs = made.theirs(row, "decoder", cross)
    ours = made.ours(row, "decoder", cross, attn_implementation=attention)
    inputs = {**batch(padding, pad=pad_of(row)), **(memory(row.source) if cross else {})}
    asked = {"output_hidden_states": True, "output_attentions": attention == "eager"}
    other = theirs(**inputs, **asked, use_cache=False)  # its cache has as many layers as the other half of a BART
    compare(ours(**inputs, **asked), other, inputs.get("attention_mask"), attention == "eager")


@pytest.mark.parametrize("row", [pytest.param(r, id=r.name) for r in ROWS if r.positions])
@torch.no_grad()
def test_positions_token_types_and_embeddings(made: Any, row: Row) -> None:
    inputs = batch("left", pad=pad_of(row))
    mask = inputs["attention_mask"]
    places = mask.cumsum(1) * mask * 3 // 2 + (3 if row.model_type in ("roberta", "xlm-roberta", "camembert") else 0)
    extra = {"position_ids": places}
    if row.token_types:
        extra["token_type_ids"] = (torch.arange(9) > 4).long().expand(3, 9)
    for side in row.sides:
        theirs, ours = made.theirs(row, side), made.ours(row, side)
        plain, own, other = ours(**inputs)[0], ours(**inputs, **extra)[0], theirs(**inputs, **extra)[0]
        assert distance(*real(mask, own, other)) < BOUND
        assert distance(*real(mask, own, plain)) > 1e-3
        scale = 1.0 if ours.spec.scales_given else ours.spec.embed_scale
        rows = ours.get_input_embeddings()(inputs["input_ids"]) * scale
        embedded = {"inputs_embeds": rows, "attention_mask": mask}
        assert torch.equal(ours(**embedded, **extra)[0], own)


@pytest.mark.parametrize("row", [pytest.param(r, id=r.name) for r in ROWS])
@torch.no_grad()
def test_embeddings_stand_for_ids(made: Any, row: Row) -> None:
    """They are taken as they are: a family that scales its table's rows does not scale them."""
    inputs = batch()["input_ids"]
    for side in row.sides:
        ours, theirs = made.ours(row, side), encoder_of(made.theirs(row, side))
        embedded = ours.get_input_embeddings()(inputs)
        off = {} if side == "encoder" else {"use_cache": False}
        assert distance(ours(inputs_embeds=embedded)[0], theirs(inputs_embeds=embedded, **off)[0]) < BOUND
        for wrong in ({}, {"input_ids": inputs, "inputs_embeds": embedded}):
            with pytest.raises(ValueError, match="Exactly one of token ids and embeddings must be given"):
                ours(**wrong)


@pytest.mark.parametrize("row", [pytest.param(r, id=r.name) for r in ROWS])
def test_a_sequence_longer_than_the_table_is_refused(made: Any, row: Row) -> None:
    ids = torch.full((1, 90), 5)
    for side in row.sides:
        model = made.ours(row, side)
        if model.spec.positions is None:
            assert model(ids)[0].shape[1] == 90
            continue
        longest = model.spec.positions.longest
        assert model(ids[:, :longest])[0].shape[1] == longest
        with pytest.raises(ValueError, match=f"A sequence must have at most {longest} tokens.*but has {longest + 1}"):
            model(ids[:, : longest + 1])


def as_stored(model: Any, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Canonical name -> tensor, under the names and in the layout of the file."""
    written = {}
    headed = model.side == "decoder"
    for one in plan_writing(model.names(), {n: tuple(v.shape) for n, v in values.items()}, headed=headed):
        written[one.name] = assembled(one, values)
    return written


def compare_gradients(row: Row, ours: Any, theirs: Any) -> None:
    """Every parameter's gradient. Some are zero but for rounding (a key's bias), so the largest one sets the floor."""
    own = {n: p.grad for n, p in ours.named_parameters() if p.grad is not None and not n.startswith("pooler.")}
    names = ours.names()
    idle = {copy for copy, _ in names.ties if names.carries(copy)}
    mine = {n: g for n, g in as_stored(ours, own).items() if n not in idle}
    other = {n: p.grad for n, p in theirs.named_parameters(remove_duplicate=False) if p.grad is not None}
    if "encoder.embed_tokens.weight" in set(mine) - set(other):  # one half of a whole body
        other = {"encoder." + n: g for n, g in other.items()}
    other = other if row.stored is None else row.stored(other)
    copies = {copy for copy, _ in names.ties}
    other = {n: g for n, g in other.items() if n in mine or bool(g.any())}  # a language's adapter that is not in use
    assert {n for n in other if not n.startswith("pooler.")} - copies == set(mine) - copies
    floor = 1e-2 * max(float(g.abs().max()) for g in other.values())
    for name, gradient in mine.items():
        assert distance(gradient, other[name], floor) < BOUND, name


@pytest.mark.parametrize(("row", "both"), ENCODERS)
def test_encoder_gradients(made: Any, row: Row, both: bool) -> None:
    theirs = encoder_of(made.theirs(row, "encoder", both_ways=both))
    ours = made.ours(row, "encoder", both_ways=both)
    theirs.zero_grad()
    inputs = batch("right", pad=pad_of(row))
    weights = torch.randn(3, 9, ours.spec.state_width) * inputs["attention_mask"][..., None]
    for model in (ours, theirs):
        (model(**inputs)[0] * weights).sum().backward()
    compare_gradients(row, ours, theirs)


@pytest.mark.parametrize(("row", "cross"), DECODERS)
def test_decoder_loss_and_gradients(made: Any, row: Row, cross: bool) -> None:
    theirs, ours = made.theirs(row, "decoder", cross), made.ours(row, "decoder", cross)
    theirs.zero_grad()
    inputs = {**batch("right", pad=pad_of(row)), **(memory(row.source) if cross else {})}
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    moved = labels if row.shifted else F.pad(labels, (0, 1), value=-100)[:, 1:].contiguous()
    mine, other = ours(**inputs, labels=labels), theirs(**inputs, labels=moved, use_cache=False)
    assert abs(mine.loss.item() - other.loss.item()) < BOUND * other.loss.item()
    mine.loss.backward()
    other.loss.backward()
    compare_gradients(row, ours, theirs)


def same_dropout(x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    """A dropout that hides the same places of every tensor of one size, whatever its shape."""
    if not training or p == 0:
        return x
    generator = torch.Generator().manual_seed(x.numel())
    kept = torch.rand(x.numel(), generator=generator).reshape(x.shape) >= p
    return x * kept / (1 - p)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        pytest.param(row, name, id=f"{row.name}-{name}")
        for row in ROWS
        for name in (*row.dropouts, "all")
        if row.dropouts
    ],
)
def test_dropout_stands_where_the_reference_has_it(
    made: Any, row: Row, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {name: 0.4 if field in (name, "all") else 0.0 for name in row.dropouts}
    inputs = batch("right", pad=pad_of(row))
    mask = inputs["attention_mask"]
    for side in row.sides:
        cross = side == "decoder" and row.cross and row.cross_works
        seen = {**inputs, **(memory(row.source) if cross else {})}
        off = {} if side == "encoder" else {"use_cache": False}
        still, ours = made.ours(row, side, cross), made.ours(row, side, cross, attn_implementation="eager", **rates)
        theirs = encoder_of(reference_model(row, side, cross=cross, **rates))
        expected = still(**seen)[0]
        assert torch.allclose(ours(**seen)[0], expected, atol=1e-5)
        ours.train()
        theirs.train()
        first = ours(**seen)[0]
        assert distance(*real(mask, first, expected)) > 1e-3
        assert distance(*real(mask, ours(**seen)[0], first)) > 1e-3
        with monkeypatch.context() as patched:
            patched.setattr(torch.nn.functional, "dropout", same_dropout)
            assert distance(*real(mask, ours(**seen)[0], theirs(**seen, **off)[0])) < BOUND
        ours.set_attn_implementation("sdpa")
        assert distance(*real(mask, ours(**seen)[0], ours(**seen)[0])) > 1e-3


@pytest.mark.parametrize("row", [pytest.param(r, id=r.name) for r in ROWS])
def test_no_dropout_in_training_mode_is_eval(made: Any, row: Row) -> None:
    inputs = batch("right", pad=pad_of(row))
    for side in row.sides:
        fields = made.ours(row, side).config.to_dict()
        rates = {n: 0.0 for n, v in fields.items() if ("dropout" in n or "pdrop" in n) and isinstance(v, float)}
        model = made.ours(row, side, **rates)
        asked = {"output_ngram_logits": True} if model.spec.streams is not None else {}  # as many rows as in training
        still = model(**inputs, **asked)[0]
        assert torch.equal(model.train()(**inputs, **asked)[0], still)


STEPPED = [
    pytest.param(row, cross, id=f"{row.name}{'-cross' * cross}")
    for row in ROWS
    if row.causal
    for cross in ((True,) if row.cross else (False, True) if row.grafts else (False,))
]


def stepped(made: Any, row: Row, cross: bool) -> Any:
    """A decoder; one published without cross-attention is grafted, its gates open."""
    if row.cross or not cross:
        return made.ours(row, "decoder", cross)
    model = made.ours(row, "decoder", add_cross_attention=True, cross_attention_hidden_size=32)
    for name, parameter in model.named_parameters():
        if name.endswith(".gate"):
            torch.nn.init.constant_(parameter, 0.7)
    return model


@pytest.mark.parametrize("pieces", [(1,) * 40, (7, 1, 1, 12, 1, 18), (20, 20)], ids=["ones", "mixed", "halves"])
@pytest.mark.parametrize("padding", ["none", "left"])
@pytest.mark.parametrize(("row", "cross"), STEPPED)
def test_steps_equal_the_full_pass(made: Any, row: Row, cross: bool, padding: str, pieces: tuple[int, ...]) -> None:
    """The cache starts with room for 16 and doubles twice on the way to 40."""
    model = stepped(made, row, cross)
    inputs = batch(padding, time=40, pad=pad_of(row))
    mask = inputs.get("attention_mask")
    seen = memory() if cross else {}
    for gradient in (False, True) if pieces == (20, 20) else (False,):
        with torch.set_grad_enabled(gradient):
            full = model(**inputs, **seen).logits
            cache, at, logits = None, 0, []
            for size in pieces:
                part = inputs["input_ids"][:, at : at + size]
                at += size
                so_far = {} if mask is None else {"attention_mask": mask[:, :at]}
                out = model(part, **so_far, **seen, past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                logits.append(out.logits)
            assert cache.get_seq_length() == 40
            assert distance(*real(mask, torch.cat(logits, 1), full)) < BOUND


@pytest.mark.parametrize(("row", "cross"), STEPPED)
@torch.no_grad()
def test_reordered_rows_go_on(made: Any, row: Row, cross: bool) -> None:
    model = stepped(made, row, cross)
    ids = batch(time=40)["input_ids"]
    seen = memory() if cross else {}
    seen = {n: v[:1].expand(3, *v.shape[1:]) for n, v in seen.items()}  # beams of one source
    cache, rows = None, torch.arange(3)
    order = [torch.tensor(o) for o in ((1, 1, 0), (2, 0, 1), (0, 0, 2))]
    written = ids[:, :0]
    for at in range(0, 40, 2):
        part = ids[:, at : at + 2]
        written = torch.cat((written, part), 1)
        out = model(part, **seen, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        assert distance(out.logits, model(written, **seen).logits[:, -2:]) < BOUND
        rows = order[at // 2 % 3]
        cache.reorder_cache(rows)
        written = written[rows]


def test_rows_have_what_the_suite_needs() -> None:
    from seqgraft.families import ENTRIES

    assert {row.model_type for row in ROWS} == set(ENTRIES)
    assert all(row.config["vocab_size"] == VOCABULARY for row in ROWS)
