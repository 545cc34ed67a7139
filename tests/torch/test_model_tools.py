"""Checkpointed activations, freezing, other vocabularies, sizes, copies, types."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from seqgraft import BertConfig, BertLMHeadModel, BertModel, EncoderDecoderConfig, EncoderDecoderModel
from seqgraft.config import AutoConfig
from seqgraft.torch.halves import CausalModel, EncoderModel

from ..families.rows import BY_NAME, ROWS, Row, batch, distance, pad_of
from .pairs import DECODERS, labels, reference_pair, source, target
from .test_family_mathematics import BOUND

ALL = [pytest.param(row, id=row.name) for row in ROWS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pairs")
    for name in DECODERS:
        reference_pair("bert", name).save_pretrained(root / name)
    return {name: root / name for name in DECODERS}


@pytest.mark.parametrize("reentrant", [None, {"use_reentrant": False}])
@pytest.mark.parametrize("decoder", DECODERS)
def test_checkpointed_activations_give_the_same_gradients(
    folders: dict[str, Path], decoder: str, reentrant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seqgraft.torch import stack

    kept, saved = (EncoderDecoderModel.from_pretrained(folders[decoder]) for _ in range(2))
    runs = []
    real = stack.checkpoint
    monkeypatch.setattr(stack, "checkpoint", lambda *a, **k: runs.append(1) or real(*a, **k))
    saved.gradient_checkpointing_enable(reentrant)
    assert saved.is_gradient_checkpointing
    assert not kept.is_gradient_checkpointing
    for model in (kept, saved):
        torch.manual_seed(3)
        model.train()(**source("bert"), labels=labels()).loss.backward()
    assert len(runs) == 4
    for (name, one), two in zip(kept.named_parameters(), saved.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None), name
        assert one.grad is None or distance(two.grad, one.grad, 1e-3) < BOUND, name
    saved.gradient_checkpointing_disable()
    assert not saved.is_gradient_checkpointing
    with pytest.raises(TypeError, match="may hold 'use_reentrant', but holds"):
        saved.gradient_checkpointing_enable({"preserve": True})


def test_a_frozen_encoder_does_not_move(folders: dict[str, Path]) -> None:
    model = EncoderDecoderModel.from_pretrained(folders["gpt2"])
    whole = model.num_parameters(only_trainable=True)
    assert whole == model.num_parameters()
    model.freeze_encoder()
    assert whole - model.num_parameters(only_trainable=True) == model.encoder.num_parameters()
    model(**source("bert"), labels=labels()).loss.backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(p.grad is not None for p in (*model.decoder.parameters(), *model.enc_to_dec_proj.parameters()))


@pytest.mark.parametrize("size", [70, 50])
@pytest.mark.parametrize("row", ALL)
@torch.no_grad()
def test_another_vocabulary(made: Any, tmp_path: Path, row: Row, size: int) -> None:
    inputs = batch("right", pad=pad_of(row))
    inputs = {**inputs, "input_ids": inputs["input_ids"] % 45}
    for side in row.sides:
        model = made.ours(row, side)
        before, tied = model(**inputs)[0], side == "decoder" and model.spec.head.tied
        old = model.embed.weight.clone()
        table = model.resize_token_embeddings(size)
        kept = min(size, 61)
        assert table is model.get_input_embeddings()
        assert table.weight.shape == (size, old.shape[1])
        assert torch.equal(table.weight[:kept], old[:kept])
        assert model.config.vocab_size == size == model.spec.vocabulary
        after = model(**inputs)[0]
        if side == "decoder":
            assert after.shape[-1] == size
            assert (model.head.output.weight is model.embed.weight) == tied
            assert distance(after[..., :kept], before[..., :kept]) < BOUND
        else:
            assert torch.equal(after, before)
        folder = tmp_path / side
        model.save_pretrained(folder)
        again = type(model).from_pretrained(folder, **({"is_causal": True} if row.sees_back else {}))
        assert again.config.vocab_size == size
        for name, parameter in model.named_parameters():
            assert torch.equal(again.get_parameter(name), parameter), name
        if (
            "mixtral" in row.name
        ):  # an expert of one token: its product's rounding depends on where a mapped weight lies
            assert distance(again(**inputs)[0], after) < BOUND
        else:
            assert torch.equal(again(**inputs)[0], after)
        if side == "decoder":
            import transformers

            theirs, info = getattr(transformers, row.causal).from_pretrained(folder, output_loading_info=True)
            assert not info["missing_keys"]
            assert not info["mismatched_keys"]
            assert theirs.get_input_embeddings().weight.shape[0] == size


@torch.no_grad()
def test_either_half_of_a_pair_takes_another_vocabulary(folders: dict[str, Path], tmp_path: Path) -> None:
    model = EncoderDecoderModel.from_pretrained(folders["bert"])
    inputs = {**source("bert"), **target("bert")}
    before = model(**inputs).logits
    with pytest.raises(TypeError, match=r"model\.encoder\.resize_token_embeddings"):
        model.resize_token_embeddings(70)
    model.encoder.resize_token_embeddings(66)
    assert torch.equal(model(**inputs).logits, before)
    model.decoder.resize_token_embeddings(70, pad_to_multiple_of=16)
    assert model.decoder.embed.num_embeddings == 80
    assert (model.config.encoder.vocab_size, model.config.decoder.vocab_size) == (66, 80)
    after = model(**inputs).logits
    assert distance(after[..., :61], before) < BOUND
    model.save_pretrained(tmp_path)
    assert torch.equal(EncoderDecoderModel.from_pretrained(tmp_path)(**inputs).logits, after)


def bert_pair(**changes: Any) -> EncoderDecoderModel:
    """A full-sized pair without memory, its encoder's pooler built as in the published sizes."""
    config = EncoderDecoderConfig(encoder=BertConfig(**changes), decoder=BertConfig(**changes))
    with torch.device("meta"):
        return EncoderDecoderModel(
            encoder=BertModel(config.encoder, add_pooling_layer=True), decoder=BertLMHeadModel(config.decoder)
        )


def test_published_sizes() -> None:
    assert bert_pair().num_parameters() == 247_363_386
    assert bert_pair(vocab_size=28996).num_parameters() == 245_017_924
    tied = bert_pair(vocab_size=28996)
    tied.config.tie_encoder_decoder = True
    tied.tie_weights()
    assert tied.num_parameters() == 137_298_244
    pooler = 768 * 768 + 768
    config = EncoderDecoderConfig(encoder=BertConfig(), decoder=BertConfig())
    with torch.device("meta"):
        plain = EncoderDecoderModel(config=config)
    assert plain.num_parameters() == 247_363_386 - pooler  # built only on request
    embeddings = 2 * (30522 + 512 + 2) * 768
    assert plain.num_parameters(exclude_embeddings=True) == plain.num_parameters() - embeddings


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_copies(folders: dict[str, Path], decoder: str) -> None:
    model = EncoderDecoderModel.from_pretrained(folders[decoder])
    inputs = {**source("bert"), **target(decoder)}
    logits = model(**inputs).logits
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(**inputs).logits, logits)
        assert twin.config.encoder is twin.encoder.config
        assert twin.config.decoder is twin.decoder.config
        output, table = twin.get_output_embeddings().weight, twin.decoder.get_input_embeddings().weight
        assert (output is table) == twin.decoder.spec.head.tied
        next(twin.encoder.parameters()).add_(1.0)
        twin.config.eos_token_id = 9
        assert twin.generation_config.eos_token_id == 9
    assert model.generation_config.eos_token_id == 2
    assert torch.equal(model(**inputs).logits, logits)


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_types(folders: dict[str, Path], tmp_path: Path, decoder: str) -> None:
    inputs = {**source("bert"), **target(decoder)}
    wide = EncoderDecoderModel.from_pretrained(folders[decoder])
    logits = wide(**inputs).logits
    for dtype in (torch.float16, torch.bfloat16):
        narrow = EncoderDecoderModel.from_pretrained(folders[decoder], dtype=dtype)
        moved = EncoderDecoderModel.from_pretrained(folders[decoder]).to(dtype)
        assert narrow.dtype == moved.dtype == dtype
        assert all(p.dtype == dtype for p in narrow.parameters())
        assert torch.equal(narrow(**inputs).logits, moved(**inputs).logits)
        assert narrow(**inputs).logits.dtype == dtype
        assert distance(narrow(**inputs).logits, logits) < 0.1
        narrow.save_pretrained(tmp_path / str(dtype))
        again = EncoderDecoderModel.from_pretrained(tmp_path / str(dtype))
        assert again.dtype == dtype
        assert torch.equal(again(**inputs).logits, narrow(**inputs).logits)
    half = EncoderDecoderModel.from_pretrained(folders[decoder]).half()
    assert half.dtype == torch.float16
    old = EncoderDecoderModel.from_pretrained(folders[decoder], torch_dtype="bfloat16")
    assert old.dtype == torch.bfloat16


@pytest.mark.parametrize("row", ALL)
def test_fresh_weights_follow_the_declared_deviation(row: Row) -> None:
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        row.model_type, **row.config, add_cross_attention=row.cross and row.causal is not None
    )
    for kind in [{"encoder": EncoderModel, "decoder": CausalModel}[side] for side in row.sides]:
        model = kind(config)
        for name, parameter in model.named_parameters():
            parent, _, leaf = name.rpartition(".")
            if leaf == "bias":
                assert float(parameter.detach().abs().max()) == 0, name
            elif parent.rstrip("0123456789.").endswith("norm"):  # or each head has one
                offset = getattr(model.spec.layers[0].norm, "offset", 0.0)
                assert bool((parameter + offset == 1).all()), name
            else:
                output = row.model_type in ("gpt2", "gpt_bigcode", "modernbert") and name.endswith(
                    ("output.weight", "down.weight")
                )
                base = 32**-0.5 if row.model_type in ("t5", "mt5", "umt5") else 0.02
                expected = base / (
                    (2 * len(model.spec.layers)) ** 0.5 if output and name.startswith("layers.") else 1.0
                )
                bound = max(0.2, 4 * (2 * parameter.numel()) ** -0.5)  # four standard errors of a small table's
                assert abs(float(parameter.detach().std()) / expected - 1) < bound, name
        assert not model.training
    assert BY_NAME[row.name] is row


def test_token_types_without_a_table_are_an_error(made: Any) -> None:
    model = made.ours(BY_NAME["llama"], "decoder")
    ids = torch.tensor([[3, 4]])
    assert model(ids, token_type_ids=torch.zeros_like(ids)).logits.shape[1] == 2
    with pytest.raises(ValueError, match="`token_type_ids` must be left out or 0"):
        model(ids, token_type_ids=torch.ones_like(ids))
