"""Decoders published without cross-attention: the graft starts as nothing, opens, is saved, and is split off again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from seqgraft import EncoderDecoderModel, Graft
from seqgraft.errors import CheckpointError, ConfigurationError
from seqgraft.families import family, graft_table
from seqgraft.torch.auto import model_class

from ..families.rows import BY_NAME, ROWS, Row, distance
from .pairs import source, target
from .test_family_mathematics import BOUND, real

GRAFTED = [
    pytest.param(row, id=row.name) for row in ROWS if row.causal and not row.cross and family(row.model_type).grafted
]
INPUTS = {**source("bert"), **target("bert")}
GOAL = INPUTS["decoder_attention_mask"]


def compose(made: Any, row: Row, **kwargs: Any) -> EncoderDecoderModel:
    torch.manual_seed(5)
    return EncoderDecoderModel.from_encoder_decoder_pretrained(
        made.folder(BY_NAME["bert"], "encoder"), made.folder(row, "decoder"), **kwargs
    )


def opened(pair: EncoderDecoderModel, value: float = 0.8) -> EncoderDecoderModel:
    for name, parameter in pair.decoder.named_parameters():
        if name.endswith(("cross_attention.gate", "inserted.gate")):
            torch.nn.init.constant_(parameter, value)
    return pair


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("row", GRAFTED)
@torch.no_grad()
def test_a_shut_gate_is_the_plain_decoder(made: Any, row: Row, dtype: torch.dtype, attention: str) -> None:
    pair = compose(made, row, dtype=dtype, attn_implementation=attention)
    plain = made.ours(row, "decoder", dtype=dtype, attn_implementation=attention)
    gates = [p for n, p in pair.named_parameters() if n.endswith(("cross_attention.gate", "inserted.gate"))]
    assert gates
    assert all(float(p) == 0 for p in gates)
    logits = plain(INPUTS["decoder_input_ids"], GOAL).logits
    assert torch.equal(pair(**INPUTS).logits, logits)
    assert distance(*real(GOAL, opened(pair)(**INPUTS).logits, logits)) > 1e-3


@pytest.mark.parametrize("row", GRAFTED)
@torch.no_grad()
def test_an_open_gate_sees_the_source(made: Any, row: Row) -> None:
    pair = opened(compose(made, row))
    logits = pair(**INPUTS).logits
    other = {**INPUTS, "input_ids": INPUTS["input_ids"].flip(1), "attention_mask": INPUTS["attention_mask"].flip(1)}
    assert distance(*real(GOAL, pair(**other).logits, logits)) > 1e-3
    hidden = {**INPUTS, "input_ids": INPUTS["input_ids"].masked_fill(INPUTS["attention_mask"] == 0, 9)}
    assert distance(*real(GOAL, pair(**hidden).logits, logits)) < BOUND  # what the mask hides changes nothing


GRAFTS = [
    None,
    Graft(gate=None),
    Graft(every=2),
    {"every": 3, "gate": None},
    Graft(how="inserted"),
    {"how": "inserted", "gate": None, "layers": [1]},
]


@pytest.mark.parametrize("graft", GRAFTS)
@pytest.mark.parametrize("row", GRAFTED)
@torch.no_grad()
def test_save_open_split_and_compose(made: Any, tmp_path: Path, row: Row, graft: Any) -> None:
    pair = opened(compose(made, row, decoder_graft=graft))
    how = Graft.read(graft)
    depth = len(pair.decoder.layers)
    assert [i for i, layer in enumerate(pair.decoder.layers) if layer.look is not None] == list(how.places(depth))
    assert all(
        (layer.look.gate is None) == (how.gate is None) and (how.how is None or layer.inserted is not None)
        for layer in pair.decoder.layers
        if layer.look is not None
    )
    logits = pair(**INPUTS).logits
    pair.save_pretrained(tmp_path / "pair")
    again = EncoderDecoderModel.from_pretrained(tmp_path / "pair")
    assert torch.equal(again(**INPUTS).logits, logits)
    assert Graft.read(again.config.decoder.graft) == how

    again.encoder.save_pretrained(tmp_path / "encoder")
    again.decoder.save_pretrained(tmp_path / "decoder")
    joined = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "encoder", tmp_path / "decoder")
    assert torch.equal(joined(**INPUTS).logits, logits)
    handed = EncoderDecoderModel(encoder=again.encoder, decoder=again.decoder)
    assert torch.equal(handed(**INPUTS).logits, logits)


@pytest.mark.parametrize("row", GRAFTED)
def test_the_decoders_own_tensors_keep_their_names(made: Any, tmp_path: Path, row: Row) -> None:
    """Beside them stand the graft's, and the reference opens the decoder's file as the plain decoder."""
    pair = compose(made, row)
    pair.save_pretrained(tmp_path / "pair")
    pair.decoder.save_pretrained(tmp_path / "decoder")
    plain = load_file(made.folder(row, "decoder") / "model.safetensors")
    stored = {n: t for n, t in load_file(tmp_path / "pair" / "model.safetensors").items() if n.startswith("decoder.")}
    own = {n.removeprefix("decoder."): t for n, t in stored.items() if ".graft." not in n}
    assert own.keys() == plain.keys()
    assert all(torch.equal(own[name], plain[name]) for name in plain)
    added = {n.removeprefix("decoder.graft."): tuple(t.shape) for n, t in stored.items() if ".graft." in n}
    assert added == graft_table(family(row.model_type), pair.decoder.config)
    kind = getattr(transformers, row.causal)
    theirs, info = kind.from_pretrained(tmp_path / "decoder", output_loading_info=True)
    assert not info["missing_keys"]
    assert all(name.startswith("graft.") for name in info["unexpected_keys"])
    with torch.no_grad():
        ids = INPUTS["decoder_input_ids"]
        assert distance(theirs(ids).logits, made.theirs(row, "decoder")(ids).logits) < BOUND


@torch.no_grad()
def test_unequal_widths_need_no_projection(made: Any) -> None:
    """A graft's keys and values are made at the encoder's width."""
    encoder = model_class("BertModel")(made.ours(BY_NAME["bert"], "encoder").config)
    narrow = BY_NAME["bert"].config | {"hidden_size": 24}
    from seqgraft import BertConfig, BertModel

    encoder = BertModel(BertConfig(**narrow))
    pair = EncoderDecoderModel.from_encoder_decoder_pretrained(
        encoder_model=encoder, decoder_pretrained_model_name_or_path=made.folder(BY_NAME["llama"], "decoder")
    )
    assert pair.enc_to_dec_proj is None
    assert pair.decoder.layers[0].cross_attention.key.weight.shape == (16, 24)
    assert bool(opened(pair)(**INPUTS).logits.isfinite().all())


@torch.no_grad()
def test_generation_is_the_argmax_of_full_passes(made: Any) -> None:
    pair = opened(compose(made, BY_NAME["qwen3"]))
    ids = torch.full((3, 1), 3)
    for _ in range(12):
        logits = pair(**source("bert"), decoder_input_ids=ids).logits[:, -1]
        ids = torch.cat((ids, logits.argmax(-1, keepdim=True)), 1)
    fixed = {"max_new_tokens": 12, "decoder_start_token_id": 3, "pad_token_id": 0, "eos_token_id": 60}
    found = pair.generate(**source("bert"), **fixed)
    assert 60 not in ids
    assert torch.equal(found, ids)
    beams = pair.generate(**source("bert"), **fixed, num_beams=3)
    assert beams.shape[0] == 3


def test_gradients_reach_the_graft(made: Any) -> None:
    pair = compose(made, BY_NAME["llama"], decoder_start_token_id=3, pad_token_id=0)
    pair(**source("bert"), labels=target("bert")["decoder_input_ids"]).loss.backward()
    for layer in pair.decoder.layers:
        assert float(layer.cross_attention.gate.grad.abs()) > 0  # which opens it for the rest
        assert float(layer.cross_attention.query.weight.grad.abs().max()) == 0
    opened(pair)(**source("bert"), labels=target("bert")["decoder_input_ids"]).loss.backward()
    assert all(float(layer.cross_attention.query.weight.grad.abs().max()) > 0 for layer in pair.decoder.layers)


def test_what_a_graft_refuses(made: Any, tmp_path: Path) -> None:
    row = BY_NAME["llama"]
    with pytest.raises(ConfigurationError, match=r"A graft must be described by how, .*, but .* by depth"):
        compose(made, row, decoder_graft={"depth": 2})
    with pytest.raises(ConfigurationError, match="`gate` of a graft must be 'tanh' or None, but is 'relu'"):
        compose(made, row, decoder_graft={"gate": "relu"})
    with pytest.raises(ConfigurationError, match=r"must be a Graft, or a dictionary of how, .*, but is 'between'"):
        compose(made, row, decoder_graft="between")
    with pytest.raises(ConfigurationError, match=r"`layers` of a graft must be a list .*, but is 1"):
        compose(made, row, decoder_graft={"layers": 1})
    bert = made.folder(BY_NAME["bert"], "encoder"), made.folder(BY_NAME["bert"], "decoder")
    with pytest.raises(ConfigurationError, match="`decoder_graft` may only say `init` for 'bert'"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(*bert, decoder_graft=Graft(every=2))
    with pytest.raises(ConfigurationError, match="must have cross-attention, but has none"):
        EncoderDecoderModel(encoder=made.ours(BY_NAME["bert"], "encoder"), decoder=made.ours(row, "decoder"))
    pair = compose(made, row)
    pair.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values["decoder"]["graft"]["every"] = 2
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"graft\.layers"):  # a folder that holds more than it says
        EncoderDecoderModel.from_pretrained(tmp_path)


PLACELESS = [r for r in ROWS if r.causal and not r.cross and not r.grafts and family(r.model_type).grafted]


@pytest.mark.parametrize("row", [pytest.param(r, id=r.name) for r in PLACELESS])
def test_there_is_no_place_between_blocks_that_stand_side_by_side(made: Any, row: Row) -> None:
    with pytest.raises(ConfigurationError, match="`how` of a graft must be 'inserted' or 'merged' for a decoder whose"):
        compose(made, row, decoder_graft={"how": "between"})
    pair = compose(made, row)
    assert all(layer.inserted is not None for layer in pair.decoder.layers)
    assert made.ours(row, "decoder").spec.layers[0].order in ("parallel", "post")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("row", [BY_NAME["llama"], BY_NAME["mistral"], BY_NAME["qwen3"]], ids=lambda row: row.name)
@torch.no_grad()
def test_merged(made: Any, tmp_path: Path, row: Row, attention: str) -> None:
    """No new weights; the source is seen, padding of it is not; steps and beams equal full passes."""
    pair = compose(made, row, decoder_graft={"how": "merged"}, attn_implementation=attention)
    assert not graft_table(family(row.model_type), pair.decoder.config)
    logits = pair(**INPUTS).logits
    hidden = {**INPUTS, "input_ids": INPUTS["input_ids"].masked_fill(INPUTS["attention_mask"] == 0, 9)}
    assert distance(*real(GOAL, pair(**hidden).logits, logits)) < BOUND
    other = {**INPUTS, "input_ids": INPUTS["input_ids"].flip(1), "attention_mask": INPUTS["attention_mask"].flip(1)}
    assert distance(*real(GOAL, pair(**other).logits, logits)) > 1e-3
    none = torch.zeros_like(INPUTS["attention_mask"])
    plain = made.ours(row, "decoder", attn_implementation=attention)(INPUTS["decoder_input_ids"], GOAL).logits
    assert distance(*real(GOAL, pair(**{**INPUTS, "attention_mask": none}).logits, plain)) < BOUND
    fixed = {"max_new_tokens": 8, "decoder_start_token_id": 3, "pad_token_id": 0, "eos_token_id": 60}
    ids = torch.full((3, 1), 3)
    for _ in range(8):
        ids = torch.cat((ids, pair(**source("bert"), decoder_input_ids=ids).logits[:, -1].argmax(-1, True)), 1)
    assert torch.equal(pair.generate(**source("bert"), **fixed), ids)
    one = pair.generate(**source("bert"), **fixed, num_beams=3)
    each = [
        pair.generate(**{n: t[i : i + 1] for n, t in source("bert").items()}, **fixed, num_beams=3) for i in range(3)
    ]
    assert all(torch.equal(one[i, : len(each[i][0])], each[i][0]) for i in range(3))
    pair.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path, attn_implementation=attention)
    assert torch.equal(again(**INPUTS).logits, logits)


@pytest.mark.parametrize("row", [BY_NAME["llama"], BY_NAME["bert"]], ids=lambda row: row.name)
def test_a_start_from_self_attention(made: Any, row: Row, caplog: pytest.LogCaptureFixture) -> None:
    pair = compose(made, row, decoder_graft={"init": "self_attention"})
    for layer in pair.decoder.layers:
        for part in ("query", "key", "value", "output"):
            own, cross = (getattr(block, part).weight for block in (layer.self_attention, layer.cross_attention))
            assert torch.equal(own, cross)
    assert "start at random" not in caplog.text
    narrow = model_class("BertModel")(type(pair.config.encoder)(**(BY_NAME["bert"].config | {"hidden_size": 24})))
    other = EncoderDecoderModel.from_encoder_decoder_pretrained(
        encoder_model=narrow,
        decoder_pretrained_model_name_or_path=made.folder(row, "decoder"),
        decoder_graft={"init": "self_attention"},
    )
    layer = other.decoder.layers[0]
    assert torch.equal(layer.self_attention.query.weight, layer.cross_attention.query.weight)
    told = "start at random, since self-attention's have another shape" in caplog.text
    assert told == (row.name == "llama")  # BERT's reads the narrow encoder through a bridge
