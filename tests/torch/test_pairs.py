"""Pairs against the reference's pairs, and against their parts where the reference has no class for them."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from seqgraft import EncoderDecoderConfig, EncoderDecoderModel
from seqgraft.config import config_class
from seqgraft.errors import ConfigurationError
from seqgraft.generation.outputs import BaseModelOutput

from ..families.rows import BY_NAME, ROWS, distance
from .pairs import (
    ALIKE,
    DECODERS,
    PAD,
    REFERENCE_ENCODERS,
    labels,
    reference_halves,
    reference_pair,
    row_of,
    source,
    states_of,
    target,
)
from .test_family_mathematics import BOUND, as_stored, real

pytestmark = pytest.mark.filterwarnings("ignore:Version v4.12.0:FutureWarning")  # the reference's, of every loss

REFERENCE_PAIRS = [
    *(pytest.param(e, d, id=f"{e}-{d}") for e in REFERENCE_ENCODERS for d in DECODERS),
    *(pytest.param(name, name, id=f"{name}-{name}") for name in ALIKE),
]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(encoder, decoder) -> the reference's pair and the folder it saved."""
    root, made = tmp_path_factory.mktemp("pairs"), {}

    def get(encoder: str, decoder: str) -> tuple[Any, Path]:
        key = (encoder, decoder)
        if key not in made:
            pair = reference_pair(encoder, decoder)
            pair.save_pretrained(root / "-".join(key))
            made[key] = pair, root / "-".join(key)
        return made[key]

    return get


@pytest.mark.parametrize(("encoder", "decoder"), REFERENCE_PAIRS)
@torch.no_grad()
def test_folders_open_on_both_sides(held: Any, tmp_path: Path, encoder: str, decoder: str) -> None:
    theirs, folder = held(encoder, decoder)
    ours = EncoderDecoderModel.from_pretrained(folder)
    assert (ours.enc_to_dec_proj is None) == (not hasattr(theirs, "enc_to_dec_proj"))
    for padding in ("right", "left"):
        inputs = {**source(encoder, padding), **target(decoder, padding)}
        mine, other = ours(**inputs), theirs(**inputs, use_cache=False)
        mask = inputs["decoder_attention_mask"]
        assert distance(*real(mask, mine.logits, other.logits)) < BOUND
        assert distance(*real(inputs["attention_mask"], mine.encoder_last_hidden_state, other[-1])) < BOUND
    ours.save_pretrained(tmp_path)
    opened, info = transformers.EncoderDecoderModel.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager"
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    stored = theirs.state_dict()
    assert opened.state_dict().keys() == stored.keys()
    assert all(torch.equal(value, stored[name]) for name, value in opened.state_dict().items())
    for name in ("decoder_start_token_id", "pad_token_id", "eos_token_id"):
        assert getattr(opened.config, name) == getattr(theirs.config, name)
        assert getattr(opened.generation_config, name) == getattr(theirs.config, name)
    assert torch.equal(opened(**inputs, use_cache=False).logits, other.logits)


@pytest.mark.parametrize(("encoder", "decoder"), REFERENCE_PAIRS)
def test_loss_and_gradients(held: Any, encoder: str, decoder: str) -> None:
    theirs, folder = held(encoder, decoder)
    ours = EncoderDecoderModel.from_pretrained(folder)
    theirs.zero_grad()
    inputs = {**source(encoder), "labels": labels()}
    mine, other = ours(**inputs), theirs(**inputs, use_cache=False)
    assert abs(mine.loss.item() - other.loss.item()) < BOUND * other.loss.item()
    mine.loss.backward()
    other.loss.backward()
    gradients: dict[str, torch.Tensor] = {}
    for side, half in (("encoder.", ours.encoder), ("decoder.", ours.decoder)):
        own = {n: p.grad for n, p in half.named_parameters() if p.grad is not None}
        idle = {copy for copy, _ in half.names().ties}
        gradients |= {side + n: g for n, g in as_stored(half, own).items() if n not in idle}
    if ours.enc_to_dec_proj is not None:
        gradients |= {f"enc_to_dec_proj.{n}": p.grad for n, p in ours.enc_to_dec_proj.named_parameters()}
    reference = {n: p.grad for n, p in theirs.named_parameters(remove_duplicate=False) if p.grad is not None}
    reference = {n: g for n, g in reference.items() if n in gradients or bool(g.any())}  # what is not in use
    ties = {"decoder." + copy for copy, _ in ours.decoder.names().ties}
    assert set(gradients) == set(reference) - ties
    floor = 1e-2 * max(float(g.abs().max()) for g in reference.values())
    for name, gradient in gradients.items():
        assert distance(gradient, reference[name], floor) < BOUND, name


OTHER_ENCODERS = [row.name for row in ROWS if row.body and row.name not in REFERENCE_ENCODERS]
OTHER_PAIRS = [
    pytest.param(encoder, decoder, id=f"{encoder}-{decoder}")
    for number, encoder in enumerate(OTHER_ENCODERS)
    for decoder in (list(DECODERS) if encoder in ("bart", "llama", "qwen3") else [list(DECODERS)[number % 4]])
]


@pytest.mark.parametrize(("encoder", "decoder"), OTHER_PAIRS)
@torch.no_grad()
def test_pairs_that_the_reference_cannot_make(made: Any, tmp_path: Path, encoder: str, decoder: str) -> None:
    """Composed from two folders: the decoder given the encoder's states. Saving and opening changes nothing."""
    row = BY_NAME[encoder]
    body = made.theirs(row, "encoder", both_ways=row.sees_back)
    head = reference_halves("bert", decoder)[1]
    head.save_pretrained(tmp_path / "decoder")
    ours = EncoderDecoderModel.from_encoder_decoder_pretrained(
        made.folder(row, "encoder", both_ways=row.sees_back),
        tmp_path / "decoder",
        decoder_start_token_id=3,
        pad_token_id=PAD,
    )
    inputs, goal = source(encoder), target(decoder)
    mine = ours(**inputs, **goal)
    states = states_of(body, inputs)
    assert distance(*real(inputs["attention_mask"], mine.encoder_last_hidden_state, states)) < BOUND
    other = head(
        goal["decoder_input_ids"],
        attention_mask=goal["decoder_attention_mask"],
        encoder_hidden_states=ours.bridge(states),
        encoder_attention_mask=inputs["attention_mask"],
        use_cache=False,
    )
    assert distance(*real(goal["decoder_attention_mask"], mine.logits, other.logits)) < BOUND
    ours.save_pretrained(tmp_path / "pair")
    again = EncoderDecoderModel.from_pretrained(tmp_path / "pair")
    assert torch.equal(again(**inputs, **goal).logits, mine.logits)


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_every_argument(held: Any, decoder: str) -> None:
    """Each changes something, and to what the reference makes of it."""
    theirs, folder = held("bert", decoder)
    ours = EncoderDecoderModel.from_pretrained(folder)
    inputs = {**source("bert"), **target(decoder)}
    goal = inputs["decoder_attention_mask"]
    plain = ours(**inputs).logits
    types = torch.ones_like(inputs["input_ids"])
    places = torch.arange(7).flip(0).expand(3, 7)
    more: list[dict[str, torch.Tensor]] = [{"token_type_ids": types}, {"position_ids": places}]
    if row_of(decoder).positions:
        more.append({"decoder_position_ids": torch.arange(6).flip(0).expand(3, 6) + 2})
    if row_of(decoder).token_types:
        more.append({"decoder_token_type_ids": torch.ones(3, 6, dtype=torch.long)})
    for extra in more:
        mine = ours(**inputs, **extra).logits
        assert distance(*real(goal, mine, plain)) > 1e-4
        assert distance(*real(goal, mine, theirs(**inputs, **extra, use_cache=False).logits)) < BOUND

    embedded = dict(inputs)
    embedded["inputs_embeds"] = ours.get_input_embeddings()(embedded.pop("input_ids"))
    assert torch.equal(ours(**embedded).logits, plain)
    rows = ours.decoder.get_input_embeddings()(embedded.pop("decoder_input_ids"))
    embedded["decoder_inputs_embeds"] = rows * ours.decoder.spec.embed_scale
    assert distance(ours(**embedded).logits, plain) < BOUND
    if decoder not in ("roberta",):  # whose positions the reference counts from the ids
        assert distance(*real(goal, plain, theirs(**embedded, use_cache=False).logits)) < BOUND

    rest = {n: v for n, v in inputs.items() if n != "input_ids"}
    encoded = ours.encoder(inputs["input_ids"], inputs["attention_mask"])
    for given in (encoded, encoded.to_tuple(), (encoded[0],), BaseModelOutput(encoded[0])):
        assert torch.equal(ours(encoder_outputs=given, **rest).logits, plain)
    with pytest.raises(TypeError, match="surprise"):
        ours(**inputs, surprise=1)
    assert torch.equal(ours(**inputs, output_attentions=False, use_cache=False).logits, plain)
    total = ours(**source("bert"), labels=labels()).loss * (labels() != -100).sum()
    for items in (5, torch.tensor(5)):
        assert distance(ours(**source("bert"), labels=labels(), num_items_in_batch=items).loss * 5, total) < BOUND


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_outputs_are_the_references(held: Any, decoder: str, attention: str) -> None:
    """Contents, shapes and tuple order, under either implementation of attention."""
    theirs, folder = held("bert", decoder)
    ours = EncoderDecoderModel.from_pretrained(folder, attn_implementation=attention)
    inputs = {**source("bert"), **target(decoder), "labels": labels()}
    inputs["decoder_attention_mask"] = torch.ones(3, 6, dtype=torch.long)
    inputs["decoder_input_ids"] = target(decoder, "none")["decoder_input_ids"]
    asked = {"output_attentions": True, "output_hidden_states": True}
    mine, other = ours(**inputs, **asked), theirs(**inputs, **asked, use_cache=False)
    for name in (
        "decoder_hidden_states",
        "decoder_attentions",
        "cross_attentions",
        "encoder_hidden_states",
        "encoder_attentions",
    ):
        assert len(mine[name]) == len(other[name]), name
        assert all(distance(a, b) < BOUND for a, b in zip(mine[name], other[name], strict=True)), name
    assert list(mine.keys()) == [n for n in other.keys() if n != "past_key_values"]  # noqa: SIM118
    flat, reference = ours(**inputs, return_dict=False), theirs(**inputs, return_dict=False, use_cache=False)
    assert isinstance(flat, tuple)
    assert [t.shape for t in flat] == [t.shape for t in reference]
    assert all(distance(a, b) < BOUND for a, b in zip(flat, reference, strict=True))
    named = ours(**{n: v for n, v in inputs.items() if n != "labels"}, use_cache=True)
    assert list(named.keys()) == ["logits", "past_key_values", "encoder_last_hidden_state"]
    assert mine.to_tuple()[1] is mine.logits


@pytest.mark.parametrize("padding", ["none", "left"])
@pytest.mark.parametrize(("encoder", "decoder"), REFERENCE_PAIRS)
@torch.no_grad()
def test_steps_equal_the_full_pass(held: Any, encoder: str, decoder: str, padding: str) -> None:
    ours = EncoderDecoderModel.from_pretrained(held(encoder, decoder)[1])
    rest = source(encoder)
    goal = target(decoder, padding)
    mask = goal.get("decoder_attention_mask")
    full = ours(**rest, **goal)
    encoded, cache, logits = (full.encoder_last_hidden_state,), None, []
    for at in range(6):
        so_far = {} if mask is None else {"decoder_attention_mask": mask[:, : at + 1]}
        out = ours(
            attention_mask=rest["attention_mask"],
            encoder_outputs=encoded,
            decoder_input_ids=goal["decoder_input_ids"][:, at : at + 1],
            past_key_values=cache,
            use_cache=True,
            **so_far,
        )
        cache = out.past_key_values
        logits.append(out.logits)
    assert distance(*real(mask, torch.cat(logits, 1), full.logits)) < BOUND


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_a_fully_masked_source_gives_no_nan(held: Any, decoder: str, attention: str, dtype: torch.dtype) -> None:
    ours = EncoderDecoderModel.from_pretrained(held("bert", decoder)[1], attn_implementation=attention, dtype=dtype)
    assert ours.dtype == dtype
    inputs = {**source("bert"), **target(decoder)}
    before = ours(**inputs).logits
    inputs["attention_mask"] = inputs["attention_mask"].clone()
    inputs["attention_mask"][0] = 0
    out = ours(**inputs)
    assert bool(out.logits.isfinite().all())
    assert bool(out.encoder_last_hidden_state.isfinite().all())
    assert distance(out.logits[1:], before[1:]) < {torch.float32: BOUND}.get(dtype, 2e-2)
    inputs["decoder_attention_mask"] = torch.zeros_like(inputs["decoder_attention_mask"])
    assert bool(ours(**inputs).logits.isfinite().all())


@pytest.mark.parametrize("decoder", ["bert", "gpt2", "roberta"])
@torch.no_grad()
def test_cross_attention_of_the_encoders_width_needs_no_projection(made: Any, tmp_path: Path, decoder: str) -> None:
    row = row_of(decoder)
    narrow = {"gpt2": {"n_embd": 24}}.get(decoder, {"hidden_size": 24})
    fields = {**row.config, **narrow, "cross_attention_hidden_size": 32}
    config = EncoderDecoderConfig(
        encoder=made.ours(row_of("bert"), "encoder").config, decoder=config_class(row.model_type)(**fields)
    )
    assert config.bridge is None
    pair = EncoderDecoderModel(config=config)
    assert pair.enc_to_dec_proj is None
    assert pair.decoder.layers[0].cross_attention.key.weight.shape == (24, 32)
    inputs = {**source("bert"), **target(decoder)}
    logits = pair(**inputs).logits
    assert distance(logits, pair(**{**inputs, **source("bert", "left")}).logits) > 1e-4
    pair.save_pretrained(tmp_path)
    assert torch.equal(EncoderDecoderModel.from_pretrained(tmp_path)(**inputs).logits, logits)
    with pytest.raises(ConfigurationError, match=r"must be the encoder's width \(32\), but is 30"):
        EncoderDecoderConfig(
            encoder=config.encoder,
            decoder=config_class(row.model_type)(**{**fields, "cross_attention_hidden_size": 30}),
        )
