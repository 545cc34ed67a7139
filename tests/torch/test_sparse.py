"""Attention to a few blocks is the reference's, in use and in training, and so is that of texts too short for it."""

from typing import Any

import pytest
import torch
import transformers
from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention

from seqgraft import AutoConfig, EncoderDecoderModel
from seqgraft.drawing import drawn
from seqgraft.spec import BlockSparse
from seqgraft.torch.halves import CausalModel, EncoderModel

from ..families.rows import distance, spread
from .test_family_mathematics import BOUND, PADDINGS, as_stored, real

TINY = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": 96,
    "block_size": 4,
    "num_random_blocks": 2,
    "hidden_dropout_prob": 0.0,
}
PEGASUS = {
    "vocab_size": 61,
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 44,
    "decoder_ffn_dim": 52,
    "max_position_embeddings": 96,
    "block_size": 4,
    "num_random_blocks": 2,
    "dropout": 0.0,
}
FULL = 36
"""(2 global + 3 near + 2 x 2 drawn) x 4 tokens."""
LENGTHS = (37, 40, 63, 96)


def text(time: int, padding: str = "none") -> dict[str, torch.Tensor]:
    ids = torch.randint(4, 57, (3, time), generator=torch.Generator().manual_seed(time))
    mask = torch.ones_like(ids)
    for row, hidden in ((1, 3), (2, 14)):
        if padding != "none":
            mask[row, slice(time - hidden, time) if padding == "right" else slice(0, hidden)] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


def big_bird(**changes: Any) -> Any:
    """The reference's; one that has read a short text attends to everything ever after, so each test makes its own."""
    return spread(transformers.BigBirdModel(transformers.BigBirdConfig(**{**TINY, **changes})), seed=2)


def ours_of(theirs: Any, folder: Any, **kwargs: Any) -> EncoderModel:
    theirs.save_pretrained(folder)
    return EncoderModel.from_pretrained(folder, add_pooling_layer=True, **kwargs)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("time", LENGTHS)
@torch.no_grad()
def test_big_bird_reads_long_texts(tmp_path: Any, time: int, padding: str, attention: str) -> None:
    theirs = big_bird()
    ours = ours_of(theirs, tmp_path, attn_implementation=attention)
    inputs = text(time, padding)
    mine, other = (model(**inputs, output_hidden_states=True) for model in (ours, theirs))
    assert theirs.attention_type == "block_sparse"
    for one, two in zip(mine.hidden_states, other.hidden_states, strict=True):
        assert distance(*real(inputs["attention_mask"], one, two[:, :time])) < BOUND
    assert distance(*real(inputs["attention_mask"], mine[0], other[0])) < BOUND
    if padding != "left":  # whose first state is padding's
        assert distance(mine.pooler_output, other.pooler_output) < BOUND
    full = EncoderModel.from_pretrained(tmp_path, attention_type="original_full")
    assert distance(*real(inputs["attention_mask"], full(**inputs)[0], other[0])) > 1e-3


@torch.no_grad()
def test_attentions_are_probabilities_of_blocks_seen(tmp_path: Any) -> None:
    """The reference tells of each copy of the first block what one of them has."""
    theirs = big_bird()
    ours = ours_of(theirs, tmp_path)
    inputs = text(63, "right")
    shown = inputs["attention_mask"]
    mine, other = (model(**inputs, output_attentions=True).attentions for model in (ours, theirs))
    for own, reference in zip(mine, other, strict=True):
        one, two = own, reference[..., :63, :63].clone()
        two[:, :, 4:60, :4] *= 3
        assert distance(*real(shown, one.transpose(1, 2), two.transpose(1, 2))) < BOUND
        assert torch.allclose(one.sum(-1), torch.ones(()), atol=1e-5)
        assert float(one[:, :, 20:24, 32:36].abs().max()) == 0


@torch.no_grad()
def test_a_short_text_sees_everything_whatever_was_read_before(tmp_path: Any) -> None:
    ours = ours_of(big_bird(), tmp_path)
    full = EncoderModel.from_pretrained(tmp_path, attention_type="original_full")
    inputs = text(FULL, "right")
    before = ours(**inputs)[0]
    assert torch.equal(before, full(**inputs)[0])
    assert distance(*real(inputs["attention_mask"], before, big_bird()(**inputs)[0])) < BOUND
    long = ours(**text(63))[0]
    assert torch.equal(ours(**inputs)[0], before)
    assert torch.equal(ours(**text(63))[0], long)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("time", LENGTHS)
def test_gradients_and_what_training_draws(tmp_path: Any, time: int, training: bool) -> None:
    """A seed for each layer; no probability is dropped, although the configuration names a rate."""
    theirs = big_bird(attention_probs_dropout_prob=0.3).train(training)
    ours = ours_of(theirs, tmp_path).train(training)
    inputs = text(time, "right")
    weights = torch.randn(3, time, 32, generator=torch.Generator().manual_seed(1)) * inputs["attention_mask"][..., None]
    for model in (ours, theirs):
        (model(**inputs)[0] * weights).sum().backward()
    states = [model(**inputs)[0].detach() for model in (ours, theirs)]
    assert distance(*real(inputs["attention_mask"], *states)) < BOUND
    own = {n: p.grad for n, p in ours.named_parameters() if p.grad is not None}
    gradients = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    floor = 1e-2 * max(float(g.abs().max()) for g in gradients.values())
    for name, gradient in as_stored(ours, own).items():
        assert distance(gradient, gradients[name], floor) < BOUND, name
    ours.set_attn_implementation("eager")
    assert distance(*real(inputs["attention_mask"], ours(**inputs)[0], states[1])) < BOUND
    if training:
        assert distance(*real(inputs["attention_mask"], ours.eval()(**inputs)[0], states[1])) > 1e-3


@pytest.mark.parametrize(("time", "block", "drawn_blocks", "planned"), [
    (1024, 64, 3, 4096), (3072, 64, 3, 4096), (4096, 64, 3, 4096), (1024, 64, 3, 1024), (2048, 64, 3, 4096),
    (1024, 16, 2, 2048), (768, 64, 3, 4096),
])  # fmt: skip
def test_draws_are_the_references(time: int, block: int, drawn_blocks: int, planned: int) -> None:
    config = transformers.BigBirdConfig(
        **{**TINY, "block_size": block, "num_random_blocks": drawn_blocks, "max_position_embeddings": planned}
    )
    layer = BigBirdBlockSparseAttention(config, seed=5).train()
    own = drawn(BlockSparse(block, drawn_blocks, planned), time // block, 4, 5)
    kept: list[Any] = []
    mask = layer._create_rand_mask_from_inputs
    layer._create_rand_mask_from_inputs = lambda *args: kept.append(args[2]) or mask(*args)
    whole = torch.ones(1, time)
    model = transformers.BigBirdModel
    blocked, band, own_mask, other_mask = model.create_masks_for_block_sparse_attn(whole, block)
    with torch.no_grad():
        layer(torch.zeros(1, time, 32), band, own_mask, other_mask, blocked, blocked)
    assert torch.equal(kept[0][0], torch.from_numpy(own))


@pytest.mark.parametrize("biased", [False, True])
def test_a_whole_bigbird_pegasus(tmp_path: Any, biased: bool) -> None:
    """The first text is a short one, which the reference cannot read and go on as it was."""

    def reference() -> Any:
        made = transformers.BigBirdPegasusForConditionalGeneration(
            transformers.BigBirdPegasusConfig(**PEGASUS, use_bias=biased)
        )
        return spread(made, seed=4)

    reference().save_pretrained(tmp_path)
    ours = EncoderDecoderModel.from_pretrained(tmp_path)
    for time in (12, *LENGTHS):
        inputs, theirs = text(time, "right"), reference()
        goal = torch.randint(4, 57, (3, 6), generator=torch.Generator().manual_seed(12))
        with torch.no_grad():
            mine, other = (model(**inputs, decoder_input_ids=goal) for model in (ours, theirs))
            states = mine.encoder_last_hidden_state, other.encoder_last_hidden_state[:, :time]
            assert distance(*real(inputs["attention_mask"], *states)) < BOUND
            assert distance(mine.logits, other.logits) < BOUND
        for settings in ({"num_beams": 1}, {"num_beams": 3}):
            fixed = {**settings, "max_new_tokens": 9, "do_sample": False}
            tokens = [model.generate(**inputs, **fixed) for model in (ours, theirs)]
            assert torch.equal(*tokens), (time, tokens)
    ours.train()
    inputs, theirs = text(40, "right"), reference().train()
    with torch.no_grad():
        states = ours(**inputs, decoder_input_ids=goal).logits, theirs(**inputs, decoder_input_ids=goal).logits
        assert distance(*states) < BOUND


@torch.no_grad()
def test_of_half_precision_and_devices(tmp_path: Any) -> None:
    ours = ours_of(big_bird(), tmp_path)
    inputs = text(63, "left")
    exact = ours(**inputs)[0]
    for dtype in (torch.bfloat16, torch.float16):
        low = EncoderModel.from_pretrained(tmp_path, dtype=dtype)
        assert distance(*real(inputs["attention_mask"], low(**inputs)[0].float(), exact)) < 0.05


def test_who_sees_blocks() -> None:
    config = AutoConfig.for_model("big_bird", **TINY)
    spec = EncoderModel(config).spec
    assert {layer.self_attention.sparse for layer in spec.layers} == {BlockSparse(4, 2, 96)}
    assert BlockSparse(4, 2, 96).full == FULL
    for full in (
        EncoderModel(AutoConfig.for_model("big_bird", **TINY, attention_type="original_full")),
        CausalModel(AutoConfig.for_model("big_bird", **TINY, is_decoder=True)),
        CausalModel(config),
        EncoderModel(AutoConfig.for_model("bigbird_pegasus", **PEGASUS, attention_type="original_full")),
    ):
        assert {layer.self_attention.sparse for layer in full.spec.layers} == {None}
