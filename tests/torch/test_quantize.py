"""Quantised pairs of every family: computed with their 8-bit weights, saved, loaded without floats, not trained."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from seqgraft import EncoderDecoderConfig, EncoderDecoderModel
from seqgraft.config import config_class
from seqgraft.errors import CheckpointError, ConfigurationError
from seqgraft.spec import parameters
from seqgraft.torch import product_int8
from seqgraft.torch.halves import EncoderModel
from seqgraft.torch.quantized import Quantized, QuantizedEmbedding, QuantizedLinear

from ..families.rows import BY_NAME, ROWS, spread
from ..families.rows_seq2seq import WHOLES
from .pairs import END, PAD, START

IDS = {"decoder_start_token_id": START, "pad_token_id": PAD, "eos_token_id": END}


def half(name: str, side: str) -> Any:
    row = BY_NAME[name]
    changes = {**row.decoder, **({"n_embd": 24} if name == "gpt2" else {})} if side == "decoder" else {}
    return config_class(row.model_type)(**{**row.config, **changes})


def pair(encoder: str = "bert", decoder: str = "bert", **fields: Any) -> EncoderDecoderModel:
    """Fresh, with weights that are far from each other."""
    torch.manual_seed(1)
    config = EncoderDecoderConfig(half(encoder, "encoder"), half(decoder, "decoder"), **IDS, **fields)
    model: EncoderDecoderModel = spread(EncoderDecoderModel(config), 3)
    return _opened(model)


def whole(row: Any) -> EncoderDecoderModel:
    torch.manual_seed(1)
    model: EncoderDecoderModel = spread(EncoderDecoderModel(config_class(row.model_type)(**row.config)), 3)
    return model


def _opened(model: EncoderDecoderModel) -> EncoderDecoderModel:
    for name, parameter in model.named_parameters():
        if name.endswith("gate"):
            nn.init.constant_(parameter, 0.7)
    return model


def inputs(time: int = 9) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(11)
    source, target = (torch.randint(4, 57, (3, n), generator=generator) for n in (time, 6))
    mask = torch.ones_like(source)
    source[1, 7:] = PAD
    mask[1, 7:] = 0
    return {"input_ids": source, "attention_mask": mask, "decoder_input_ids": target}


def logits(model: EncoderDecoderModel, **given: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = model(**(given or inputs())).logits
    return out


def rounded(model: EncoderDecoderModel, small: EncoderDecoderModel) -> EncoderDecoderModel:
    """The pair of floats with the values that the quantised one's numbers stand for."""
    for side in ("encoder", "decoder"):
        own, other = getattr(model, side), getattr(small, side)
        for name in parameters(own.spec):
            owner = other.get_submodule(name.rpartition(".")[0])
            if isinstance(owner, Quantized) and name.endswith(".weight"):
                own.get_parameter(name).data.copy_(owner.dequantised())
    if model.enc_to_dec_proj is not None:
        model.enc_to_dec_proj.weight.data.copy_(small.enc_to_dec_proj.dequantised())
    return model


def far(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def check(model: EncoderDecoderModel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> EncoderDecoderModel:
    """What holds for every family; the quantised pair."""
    small = copy.deepcopy(model).quantize()
    before, after = logits(model), logits(small)
    assert after.dtype is torch.float32
    assert 1e-6 < far(after, before) < 0.12
    small.save_pretrained(folder)
    again = EncoderDecoderModel.from_pretrained(folder)
    assert torch.equal(logits(again), after)
    monkeypatch.setattr(product_int8, "kernel", lambda: ("float", 127))
    for linear in again.modules():
        linear.__dict__.pop("_map", None)
    assert far(logits(again), logits(rounded(model, small))) < 1e-5
    return again


@pytest.mark.parametrize("name", [row.name for row in ROWS if row.body])
def test_encoders(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(pair(name), tmp_path, monkeypatch)


@pytest.mark.parametrize("name", [row.name for row in ROWS if row.causal])
def test_decoders(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(pair(decoder=name), tmp_path, monkeypatch)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in WHOLES])
def test_published_encoder_decoders(row: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = check(whole(row), tmp_path, monkeypatch)
    assert made.config.whole == row.model_type
    if made.decoder.embed.weight is made.encoder.embed.weight:
        assert made.decoder.embed.scales is made.encoder.embed.scales


def linears(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def test_what_is_quantised() -> None:
    model = pair("bert", "gpt2").quantize()
    assert not linears(model)
    assert isinstance(model.encoder.embed, QuantizedEmbedding)
    assert isinstance(model.decoder.head.output, QuantizedLinear)
    assert model.decoder.head.output.weight is model.decoder.embed.weight
    assert model.decoder.head.output.scales is model.decoder.embed.scales
    assert isinstance(model.enc_to_dec_proj, QuantizedLinear)
    assert type(model.encoder.positions) is nn.Embedding
    assert model.dtype is torch.float32
    assert model.config.quantization_config["dtype"] == "int8"
    small = sum(p.numel() for p in model.parameters() if p.dtype is torch.int8)
    assert small > 0.8 * model.num_parameters()


def test_experts_are_chosen_by_floats() -> None:
    model = pair(decoder="mixtral").quantize()
    assert {name.rpartition(".")[2] for name in linears(model)} == {"router"}
    kept = [name for name in linears(model) if ".experts." in name]
    assert not kept


def test_what_stays_float_on_request(tmp_path: Path) -> None:
    model = pair("bert", "gpt2").quantize(modules_to_not_convert=["decoder.head.*", "encoder.*", "enc_to_dec_proj"])
    assert all(name.startswith(("encoder.", "enc_to_dec_proj", "decoder.head.output")) for name in linears(model))
    assert type(model.decoder.embed) is nn.Embedding
    assert isinstance(model.decoder.layers[0].feed_forward.up, QuantizedLinear)
    assert type(model.encoder.embed) is nn.Embedding
    model.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    kept = ["decoder.head.*", "enc_to_dec_proj", "encoder.*"]
    assert again.config.quantization_config["modules_to_not_convert"] == kept
    assert linears(again) == linears(model)
    assert torch.equal(logits(again), logits(model))
    with pytest.raises(ConfigurationError, match="nothing is called decoder-brain"):
        pair().quantize(modules_to_not_convert=["decoder-brain"])


def test_fp8(tmp_path: Path) -> None:
    model = pair("bert", "gpt2")
    before = logits(model)
    model.quantize("fp8").save_pretrained(tmp_path)
    assert (tmp_path / "model.fp8.safetensors").is_file()
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert again.decoder.embed.weight.dtype is torch.float8_e4m3fn
    assert torch.equal(logits(again), logits(model))
    assert 1e-6 < far(logits(again), before) < 0.2


@pytest.mark.parametrize("search", [{}, {"num_beams": 3}, {"do_sample": True}], ids=str)
def test_generates_the_same_after_loading(search: dict[str, Any], tmp_path: Path) -> None:
    model = pair("bert", "gpt2").quantize()
    model.save_pretrained(tmp_path)
    given = {n: t for n, t in inputs().items() if n != "decoder_input_ids"}
    made = []
    for one in (model, EncoderDecoderModel.from_pretrained(tmp_path)):
        torch.manual_seed(0)
        made.append(one.generate(**given, max_new_tokens=8, **search))
    assert torch.equal(*made)


def test_stacked_maps_serve_both_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a generation runs no query, key or value of self-attention is multiplied on its own, the encoder's too."""
    model = pair("bert", "gpt2").quantize()
    names = {module: name for name, module in model.named_modules()}
    given = {n: t for n, t in inputs().items() if n != "decoder_input_ids"}
    called: list[str] = []
    own = QuantizedLinear.forward
    monkeypatch.setattr(QuantizedLinear, "forward", lambda self, x: (called.append(names[self]), own(self, x))[1])
    model.generate(**given, max_new_tokens=3)
    assert {name.partition(".")[0] for name in called if "self_attention" in name or "feed_forward" in name} == set()
    assert any("cross_attention.key" in name for name in called)
    called.clear()
    logits(model)
    assert sum("self_attention.query" in name for name in called) == 4


def test_a_text_does_not_depend_on_its_neighbours() -> None:
    """Rows of one length: alone each takes the product of a single row, in a batch that of several."""
    model = pair("bert", "gpt2").quantize()
    given = {"input_ids": inputs()["input_ids"][:, :6]}
    given["attention_mask"] = torch.ones_like(given["input_ids"])
    asked = {"max_new_tokens": 5, "min_new_tokens": 5, "return_dict_in_generate": True, "output_logits": True}
    together = model.generate(**given, **asked)
    seen = torch.stack(together.logits, 1)
    for row in range(3):
        alone = model.generate(**{name: tensor[row : row + 1] for name, tensor in given.items()}, **asked)
        assert torch.equal(alone.sequences[0], together.sequences[row])
        assert far(torch.stack(alone.logits, 1)[0], seen[row]) < 1e-4


def test_steps_equal_the_full_pass() -> None:
    """Stacked and prepared maps quantise each row as the modules do, so steps agree with one pass to rounding."""
    model = pair("bert", "gpt2").quantize()
    given = {n: t for n, t in inputs().items() if n != "decoder_input_ids"}
    out = model.generate(**given, max_new_tokens=6, return_dict_in_generate=True, output_logits=True, min_new_tokens=6)
    full = logits(model, **given, decoder_input_ids=out.sequences[:, :-1])
    assert torch.allclose(torch.stack(out.logits, 1), full, atol=1e-4 * float(full.abs().max()))


@pytest.mark.parametrize("encoder", ["bert", "ernie"])
def test_a_round_trip_is_exact_to_the_bit(encoder: str, tmp_path: Path) -> None:
    model = pair(encoder, "gpt2").quantize()
    model.encoder.carried["pooler.dense.bias"] = torch.arange(4.0)
    model.save_pretrained(tmp_path / "one", max_shard_size="9KB")
    EncoderDecoderModel.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two", max_shard_size="9KB")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert sum(name.endswith(".safetensors") for name in names) > 2
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_tied_halves_stand_once(tmp_path: Path) -> None:
    model = pair(tie_encoder_decoder=True).quantize()
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.int8.safetensors")
    assert not [name for name in stored if name.startswith("encoder.")]
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert again.encoder.embed.scales is again.decoder.embed.scales
    one, other = (getattr(again, side).layers[0].self_attention.query for side in ("encoder", "decoder"))
    assert one.weight is other.weight
    assert one.scales is other.scales
    assert torch.equal(logits(again), logits(model))


def test_tied_halves_are_named_as_the_decoder_is() -> None:
    model = pair(tie_encoder_decoder=True).quantize(modules_to_not_convert=["decoder.layers.0.feed_forward.up"])
    assert linears(model) == [f"{side}.layers.0.feed_forward.up" for side in ("encoder", "decoder")]


class _Made(TorchDispatchMode):
    """The shapes of all tensors of floats that operations make, maps of a file among them; meta tensors are none."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.is_floating_point() and not out.is_meta:
            self.shapes.add(tuple(out.shape))
        return out


def test_loading_makes_no_float_weights(tmp_path: Path) -> None:
    model = pair("bert", "gpt2")
    model.save_pretrained(tmp_path / "float")
    model.quantize().save_pretrained(tmp_path / "small")
    weights = {tuple(m.weight.shape) for m in model.modules() if isinstance(m, Quantized)}
    found = {}
    for name in ("float", "small"):
        with _Made() as made:
            EncoderDecoderModel.from_pretrained(tmp_path / name, dtype=torch.float32)
        found[name] = made.shapes
    assert weights <= found["float"]
    assert not weights & found["small"]


def test_a_smaller_file(tmp_path: Path) -> None:
    model = pair()
    model.save_pretrained(tmp_path / "float")
    model.quantize().save_pretrained(tmp_path / "small")
    before = load_file(tmp_path / "float" / "model.safetensors")
    after = load_file(tmp_path / "small" / "model.int8.safetensors")
    big = {n: t.numel() for n, t in before.items() if t.dim() == 2 and "position" not in n and "token_type" not in n}
    assert sum(t.numel() for t in after.values() if t.dtype is torch.int8) == sum(big.values())


def test_the_other_library_does_not_open_it(tmp_path: Path) -> None:
    """It would skip the quantisation that it does not know, and fill the model with random weights."""
    pair().quantize().save_pretrained(tmp_path)
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        transformers.EncoderDecoderModel.from_pretrained(tmp_path)


def test_one_folder_holds_one_of_both(tmp_path: Path) -> None:
    model = pair()
    model.save_pretrained(tmp_path)
    copy.deepcopy(model).quantize().save_pretrained(tmp_path)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == ["model.int8.safetensors"]
    copy.deepcopy(model).quantize("fp8").save_pretrained(tmp_path)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == ["model.fp8.safetensors"]
    model.save_pretrained(tmp_path)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    assert torch.equal(logits(EncoderDecoderModel.from_pretrained(tmp_path)), logits(model))


def test_bfloat16(tmp_path: Path) -> None:
    model = pair("bert", "gpt2").to(torch.bfloat16)
    before = logits(model).float()
    model.quantize().save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert again.dtype is torch.bfloat16
    assert again.decoder.final_norm.weight.dtype is torch.bfloat16
    assert again.decoder.embed.scales.dtype is torch.float32
    assert torch.equal(logits(again), logits(model))
    assert far(logits(again).float(), before) < 0.12
    assert EncoderDecoderModel.from_pretrained(tmp_path, dtype=torch.float32).dtype is torch.float32


def test_positions_that_lean_on_the_scores() -> None:
    for name in ("bloom", "mpt"):
        model = pair(decoder=name).to(torch.bfloat16).quantize()
        assert bool(logits(model).isfinite().all())


def test_it_is_not_trained() -> None:
    model = pair().quantize()
    assert not any(p.requires_grad for p in model.parameters())
    for one in (model, model.decoder):
        with pytest.raises(ConfigurationError, match="quantised model cannot be trained"):
            one.train()
        assert not any(module.training for module in model.modules())
    with pytest.raises(ConfigurationError, match="quantised model cannot be trained"):
        nn.Sequential(model.decoder.head).train()
    given = inputs()
    loss = model(**given, labels=given["decoder_input_ids"]).loss
    with pytest.raises(RuntimeError, match="does not require grad"):
        loss.backward()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"`dtype` must be one of 'int8', 'fp8', but is 'int4'"):
        pair().quantize("int4")
    model = pair().quantize()
    with pytest.raises(ConfigurationError, match="quantised already"):
        model.quantize()
    with pytest.raises(ConfigurationError, match="before the model is quantised"):
        model.decoder.resize_token_embeddings(70)
    with pytest.raises(CheckpointError, match="saved with its pair"):
        model.decoder.save_pretrained(tmp_path / "half")
    for more in ({"variant": "fp16"}, {"safe_serialization": False}):
        with pytest.raises(CheckpointError, match="without a `variant`, and as safetensors"):
            model.save_pretrained(tmp_path / "other", **more)
    with torch.device("meta"):
        empty = EncoderDecoderModel(pair().config)
    with pytest.raises(ConfigurationError, match="meta device"):
        empty.quantize()
    bart = next(row for row in WHOLES if row.name == "bart")
    whole(bart).quantize().save_pretrained(tmp_path / "bart")
    with pytest.raises(ConfigurationError, match="holds a quantised encoder-decoder: open it with"):
        EncoderModel.from_pretrained(tmp_path / "bart")


def test_other_libraries_quantisation_is_refused(tmp_path: Path) -> None:
    pair().save_pretrained(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    others = {"quant_method": "bitsandbytes"}, {"quant_method": "seqgraft", "dtype": "int3"}
    for other in others:
        (tmp_path / "config.json").write_text(json.dumps({**said, "quantization_config": other}))
        with pytest.raises(ConfigurationError, match="`quantization_config` must"):
            EncoderDecoderModel.from_pretrained(tmp_path)


def test_a_damaged_file_is_one_error(tmp_path: Path) -> None:
    pair("bert", "gpt2").quantize().save_pretrained(tmp_path)
    file = tmp_path / "model.int8.safetensors"
    held = load_file(file)
    query = "decoder.layers.{}.self_attention.query."
    del held[query.format(0) + "scales"], held["decoder.layers.1.feed_forward_norm.bias"]
    held[query.format(1) + "scales"] = held[query.format(1) + "scales"][:-1].clone()
    held["decoder.layers.0.feed_forward.up.weight"] = held["decoder.layers.0.feed_forward.up.weight"].float()
    held["decoder.layers.1.feed_forward.up.weight"] = held["decoder.layers.1.feed_forward.up.weight"][1:].clone()
    held["decoder.strange"] = torch.zeros(1)
    save_file(held, file)
    with pytest.raises(CheckpointError) as error:
        EncoderDecoderModel.from_pretrained(tmp_path)
    told = str(error.value)
    for line in (
        "Missing, 1:\n  - decoder.layers.1.feed_forward_norm.bias",
        "Unexpected, 1:\n  - decoder.strange",
        f"{query.format(0)}weight must be of BF16, F16, F32, F64 or have `scales`, but is I8 without",
        f"{query.format(1)}scales must be F32 [24], but is F32 [23]",
        "decoder.layers.0.feed_forward.up.weight must be I8, as the configuration says (int8), but is F32",
        "decoder.layers.1.feed_forward.up.weight must be [",
    ):
        assert line in told, told
