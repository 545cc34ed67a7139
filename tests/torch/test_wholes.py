"""Published encoder-decoders as pairs: opened, computed, trained, generated and saved as the reference does it."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import seqgraft
from seqgraft import AutoModelForCausalLM, AutoModelForSeq2SeqLM, EncoderDecoderConfig, EncoderDecoderModel
from seqgraft.config import config_class
from seqgraft.errors import CheckpointError, ConfigurationError
from seqgraft.families import ENTRIES, family
from seqgraft.families.naming import plan_writing
from seqgraft.torch.halves import CausalModel, EncoderModel
from seqgraft.torch.weights import assembled
from seqgraft.training.loss import token_loss

from ..families.rows import BY_NAME, distance, spread
from ..families.rows_seq2seq import WHOLES, WholeRow
from .test_family_mathematics import BOUND, real, same_dropout

ALL = [pytest.param(row, id=row.name) for row in WHOLES]
END = 2


class Wholes:
    """The reference's model, the folder that it saved, and ours opened from there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: dict[str, Any] = {}

    def theirs(self, row: WholeRow, **changes: Any) -> Any:
        if changes:
            return self._make(row, **changes)
        if row.name not in self.made:
            self.made[row.name] = self._make(row)
            self.made[row.name].save_pretrained(self.root / row.name)
        return self.made[row.name]

    def _make(self, row: WholeRow, **changes: Any) -> Any:
        config = type(transformers.AutoConfig.for_model(row.model_type))(**{**row.config, **changes})
        config._attn_implementation = "eager"
        model = spread(getattr(transformers, row.model)(config), seed=4)
        generator = torch.Generator().manual_seed(5)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.copy_(torch.randn(model.final_logits_bias.shape, generator=generator))
        if row.mend is not None:
            row.mend(model)
        if row.untied:
            model.lm_head.weight = torch.nn.Parameter(torch.randn(61, 32, generator=generator) * 0.3)
        model.generation_config.eos_token_id = config.eos_token_id
        for name, value in row.generation.items():
            setattr(model.generation_config, name, value)
        return model

    def folder(self, row: WholeRow) -> Path:
        self.theirs(row)
        return self.root / row.name

    def ours(self, row: WholeRow, **kwargs: Any) -> EncoderDecoderModel:
        return EncoderDecoderModel.from_pretrained(self.folder(row), **kwargs)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Wholes:
    return Wholes(tmp_path_factory.mktemp("wholes"))


def source(row: WholeRow, padding: str = "right") -> dict[str, torch.Tensor]:
    ids = torch.randint(4, 57, (3, 9), generator=torch.Generator().manual_seed(11))
    mask = torch.ones_like(ids)
    for line, hidden in ((1, 2), (2, 5)):
        mask[line, slice(9 - hidden, 9) if padding == "right" else slice(0, hidden)] = 0
    pad = config_class(row.model_type)(**row.config).pad_token_id
    return {"input_ids": ids.masked_fill(mask == 0, pad or 0), "attention_mask": mask}


def target(row: WholeRow) -> torch.Tensor:
    ids = torch.randint(4, 57, (3, 6), generator=torch.Generator().manual_seed(12))
    ids[0, 5] = ids[1, 3] = ids[2, 4] = END
    return ids


def labels(row: WholeRow) -> torch.Tensor:
    ids = target(row)
    ids[1, 4:] = ids[2, 5:] = -100
    return ids


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("row", ALL)
@torch.no_grad()
def test_computes_what_the_reference_computes(held: Wholes, row: WholeRow, attention: str) -> None:
    theirs, ours = held.theirs(row), held.ours(row, attn_implementation=attention)
    assert not ours.training
    asked = {"output_hidden_states": True, "output_attentions": attention == "eager"}
    for padding in ("right", "left"):
        inputs = {**source(row, padding), "decoder_input_ids": target(row)}
        mine, other = ours(**inputs, **asked), theirs(**inputs, **asked, use_cache=False)
        assert distance(mine.logits, other.logits) < BOUND
        shown = inputs["attention_mask"]
        assert distance(*real(shown, mine.encoder_last_hidden_state, other.encoder_last_hidden_state)) < BOUND
        names = ["decoder_hidden_states"] + ["decoder_attentions", "cross_attentions"] * (attention == "eager")
        for name in names:
            assert len(mine[name]) == len(other[name]), name
            assert all(distance(a, b) < BOUND for a, b in zip(mine[name], other[name], strict=True)), name
    flipped = {**inputs, "input_ids": inputs["input_ids"].flip(1), "attention_mask": inputs["attention_mask"].flip(1)}
    assert distance(ours(**flipped).logits, mine.logits) > 1e-4


@pytest.mark.parametrize("row", ALL)
def test_loss_and_gradients(held: Wholes, row: WholeRow) -> None:
    """What the halves share gets both gradients; what the reference holds as a buffer gets none."""
    theirs, ours = held.theirs(row), held.ours(row)
    theirs.zero_grad()
    inputs = {**source(row), "labels": labels(row)}
    mine, other = ours(**inputs), theirs(**inputs, use_cache=False)
    assert abs(mine.loss.item() - other.loss.item()) < BOUND * other.loss.item()
    mine.loss.backward()
    other.loss.backward()
    whole = family(row.model_type).whole
    assert whole is not None
    table = whole.table(ours.config.decoder)
    gradients: dict[str, torch.Tensor] = {}
    for half in (ours.encoder, ours.decoder):
        own = {n: p.grad for n, p in half.named_parameters() if p.grad is not None}
        shapes = {n: tuple(g.shape) for n, g in own.items()}
        for one in plan_writing(half.names(), shapes, headed=True):
            name = table if table and one.name in whole.copies else one.name
            gradients[name] = assembled(one, own)
    reference = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    assert set(gradients) == set(reference)
    floor = 1e-2 * max(float(g.abs().max()) for g in reference.values())
    for name, gradient in gradients.items():
        assert distance(gradient, reference[name], floor) < BOUND, name
    trained = {n for n, p in theirs.named_parameters() if p.requires_grad}
    assert sum(p.requires_grad for p in ours.parameters()) == len(trained - {"model.shared.weight"} | set(reference))
    assert ours.num_parameters(only_trainable=True) == sum(theirs.get_parameter(n).numel() for n in reference)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"num_beams": 4},
    {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 2.0, "early_stopping": True},
    {"num_beams": 2, "no_repeat_ngram_size": 2, "min_length": 5},
]


@pytest.mark.parametrize("row", ALL)
def test_tokens_are_the_references(held: Wholes, row: WholeRow) -> None:
    theirs, ours = held.theirs(row), held.ours(row)
    end = theirs.config.eos_token_id
    pad = theirs.config.pad_token_id
    for settings in SETTINGS:
        for padding in ("right", "left"):
            fixed = {**settings, "max_new_tokens": 9}
            mine, other = (m.generate(**source(row, padding), **fixed) for m in (ours, theirs))
            if pad == 0:  # which the reference's beams take for none, and fill with the end token
                ended = (other == end).cumsum(1) - (other == end).long() > 0
                other = other.masked_fill(ended, 0)
                mine = mine.masked_fill((mine == end).cumsum(1) - (mine == end).long() > 0, 0)
            assert torch.equal(mine, other), (settings, mine, other)
    forced = row.generation.get("forced_bos_token_id")
    assert forced is None or bool((mine[:, 1] == forced).all())


@pytest.mark.parametrize("row", ALL)
def test_saved_it_is_what_it_was(held: Wholes, tmp_path: Path, row: WholeRow) -> None:
    """The reference opens it, by its own class and by the automatic one, with nothing missing and no bit changed."""
    theirs, ours = held.theirs(row), held.ours(row)
    ours.save_pretrained(tmp_path)
    own, other = load_file(tmp_path / "model.safetensors"), load_file(held.folder(row) / "model.safetensors")
    idle = {"model.shared.weight"} if row.name == "bart-untied" else set()  # a table that no computation reads
    assert own.keys() == other.keys() - idle
    assert all(torch.equal(own[name], other[name]) for name in own)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["model_type"] == row.model_type
    assert written["architectures"] == [row.model]
    assert "whole" not in written
    opened, info = getattr(transformers, row.model).from_pretrained(tmp_path, output_loading_info=True)
    assert set(info["missing_keys"]) == idle
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    stored = {n: v for n, v in theirs.state_dict().items() if n not in idle}
    assert all(torch.equal(opened.state_dict()[name], value) for name, value in stored.items())
    first = getattr(transformers, row.model).from_pretrained(held.folder(row))
    said, meant = opened.config.to_dict(), first.config.to_dict()
    ignored = ("_name_or_path", "transformers_version", "architectures", "dtype")
    assert {n: v for n, v in said.items() if n not in ignored} == {n: v for n, v in meant.items() if n not in ignored}
    generation = opened.generation_config.to_dict()
    assert {n: generation[n] for n in row.generation} == row.generation
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert again.config.to_dict() == ours.config.to_dict()
    inputs = {**source(row), "decoder_input_ids": target(row)}
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, ours(**inputs).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("row", ALL)
def test_round_trip_changes_no_bit(held: Wholes, tmp_path: Path, row: WholeRow, dtype: torch.dtype) -> None:
    bits = torch.int32 if dtype == torch.float32 else torch.int16
    info = torch.iinfo(bits)
    shapes = {n: t.shape for n, t in load_file(held.folder(row) / "model.safetensors").items()}
    stored = {n: torch.randint(info.min, info.max, s, dtype=bits).view(dtype) for n, s in shapes.items()}
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (first / "config.json").write_bytes((held.folder(row) / "config.json").read_bytes())
    save_file(stored, first / "model.safetensors", {"format": "pt"})
    model = EncoderDecoderModel.from_pretrained(first)
    assert model.dtype == dtype
    model.save_pretrained(second)
    written = load_file(second / "model.safetensors")
    assert all(torch.equal(written[n].view(bits), stored[n].view(bits)) for n in written)
    assert stored.keys() - written.keys() == ({"model.shared.weight"} if row.name == "bart-untied" else set())


@pytest.mark.parametrize("row", ALL)
@torch.no_grad()
def test_every_class_opens_it(held: Wholes, row: WholeRow) -> None:
    folder = held.folder(row)
    inputs = {**source(row), "decoder_input_ids": target(row)}
    logits = held.ours(row)(**inputs).logits
    public = getattr(seqgraft, row.model)
    lone = ENTRIES[row.model_type].causal
    if lone is not None:  # the field gives the decoder alone
        assert type(AutoModelForCausalLM.from_pretrained(folder)).__name__ == lone
    for kind in (AutoModelForSeq2SeqLM, public, *([] if lone else [AutoModelForCausalLM])):
        model = kind.from_pretrained(folder)
        assert isinstance(model, EncoderDecoderModel)
        assert torch.equal(model(**inputs).logits, logits)
    assert public.__name__ == row.model
    assert issubclass(public, EncoderDecoderModel)
    fresh = public(config_class(row.model_type)(**row.config))
    assert fresh.config.whole == row.model_type
    assert bool(fresh(**inputs).logits.isfinite().all())
    other = next(one for one in WHOLES if one.model_type != row.model_type)
    with pytest.raises(ConfigurationError, match=f"must be that of a '{row.model_type}', but is {other.model_type}'s"):
        public.from_pretrained(held.folder(other))


@pytest.mark.parametrize("row", ALL)
@torch.no_grad()
def test_steps_equal_the_full_pass(held: Wholes, row: WholeRow) -> None:
    ours = held.ours(row)
    inputs, goal = source(row), target(row)
    full = ours(**inputs, decoder_input_ids=goal)
    cache, logits = None, []
    for at in range(6):
        out = ours(
            attention_mask=inputs["attention_mask"],
            encoder_outputs=(full.encoder_last_hidden_state,),
            decoder_input_ids=goal[:, at : at + 1],
            past_key_values=cache,
            use_cache=True,
        )
        cache = out.past_key_values
        logits.append(out.logits)
    assert distance(torch.cat(logits, 1), full.logits) < BOUND


@pytest.mark.parametrize("row", ALL)
@torch.no_grad()
def test_the_decoder_half_keeps_its_cross_attention(held: Wholes, tmp_path: Path, row: WholeRow) -> None:
    """Behind another encoder it sees that one's states as the reference's decoder does."""
    folder = held.folder(row)
    bert = BY_NAME["bert"]
    encoder = transformers.BertModel(transformers.BertConfig(**bert.config))
    spread(encoder, 9).save_pretrained(tmp_path / "bert")
    pair = EncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "bert", folder, decoder_start_token_id=3, pad_token_id=0
    )
    inputs = source(WHOLES[0])
    mine = pair(**inputs, decoder_input_ids=target(row), decoder_attention_mask=torch.ones(3, 6))
    states = encoder(**inputs).last_hidden_state
    theirs = held.theirs(row)
    other = theirs(
        encoder_outputs=transformers.modeling_outputs.BaseModelOutput(states),
        attention_mask=inputs["attention_mask"],
        decoder_input_ids=target(row),
        use_cache=False,
    ).logits
    bias = getattr(theirs, "final_logits_bias", None)
    assert distance(mine.logits, other if bias is None else other - bias) < BOUND
    pair.save_pretrained(tmp_path / "pair")
    again = EncoderDecoderModel.from_pretrained(tmp_path / "pair")
    assert torch.equal(again(**inputs, decoder_input_ids=target(row)).logits, mine.logits)


@pytest.mark.parametrize("row", ALL)
@torch.no_grad()
def test_its_halves_on_their_own(held: Wholes, tmp_path: Path, row: WholeRow) -> None:
    """Saved apart they open again, alone and put together; the decoder keeps the whole's bias of the logits."""
    ours = held.ours(row)
    ours.encoder.save_pretrained(tmp_path / "encoder")
    ours.decoder.save_pretrained(tmp_path / "decoder")
    inputs = {**source(row), "decoder_input_ids": target(row), "decoder_attention_mask": torch.ones(3, 6)}
    logits = ours(**inputs).logits
    joined = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "encoder", tmp_path / "decoder")
    assert torch.equal(joined(**inputs).logits, logits)
    causal = AutoModelForCausalLM.from_pretrained(tmp_path / "decoder")
    assert isinstance(causal, CausalModel)
    assert isinstance(EncoderModel.from_pretrained(tmp_path / "encoder"), EncoderModel)
    handed = EncoderDecoderModel(encoder=ours.encoder, decoder=ours.decoder)
    assert handed.config.whole is None
    assert torch.equal(handed(**inputs).logits, logits)


@pytest.mark.parametrize("row", ALL)
def test_dropout_stands_where_the_reference_has_it(
    held: Wholes, row: WholeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("dropout_rate",) if "t5" in row.model_type else ("dropout", "attention_dropout", "activation_dropout")
    if row.model_type == "prophetnet":  # whose reference gives attentions of other shapes
        names = ("dropout", "activation_dropout")
    rates = dict.fromkeys(names, 0.4)
    ours, theirs = held.ours(row, attn_implementation="eager", **rates).train(), held.theirs(row, **rates).train()
    if row.untied:
        theirs.lm_head.weight.data.copy_(held.theirs(row).lm_head.weight)
    inputs = {**source(row), "decoder_input_ids": target(row)}
    with torch.no_grad(), monkeypatch.context() as patched:
        patched.setattr(torch.nn.functional, "dropout", same_dropout)
        assert distance(ours(**inputs).logits, theirs(**inputs, use_cache=False).logits) < BOUND


@pytest.mark.parametrize("row", ALL)
@torch.no_grad()
def test_another_vocabulary(held: Wholes, tmp_path: Path, row: WholeRow) -> None:
    """The one table of both halves grows with the output table and its bias."""
    ours = held.ours(row)
    whole = family(row.model_type).whole
    assert whole is not None
    inputs = {**source(row), "decoder_input_ids": target(row)}
    before = ours(**inputs).logits
    if whole.table(ours.config.decoder) is None:
        with pytest.raises(TypeError, match="A pair has two vocabularies"):
            ours.resize_token_embeddings(70)
        return
    ours.resize_token_embeddings(70)
    assert ours.encoder.embed.weight is ours.decoder.embed.weight
    assert torch.equal(ours(**inputs).logits[..., :61], before)
    ours.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(again(**inputs).logits, ours(**inputs).logits)
    theirs, info = getattr(transformers, row.model).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    if row.mend is not None:
        row.mend(theirs)
    assert distance(ours(**inputs).logits, theirs(**inputs, use_cache=False).logits) < BOUND
    ours.encoder.resize_token_embeddings(80)
    with pytest.raises(ConfigurationError, match=f"The halves of '{row.model_type}' must share 'embed.weight'"):
        ours.save_pretrained(tmp_path)


def test_layers_are_skipped_in_training(held: Wholes) -> None:
    row = next(row for row in WHOLES if row.name == "bart")
    inputs = {**source(row), "decoder_input_ids": target(row)}
    off = dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.0)
    with torch.no_grad():
        always = held.ours(row, **off, encoder_layerdrop=1.0, decoder_layerdrop=1.0).train()
        out = always(**inputs, output_hidden_states=True)
        assert torch.equal(out.encoder_hidden_states[0], out.encoder_last_hidden_state)
        assert torch.equal(out.decoder_hidden_states[0], out.decoder_hidden_states[-1])
        plain = held.ours(row, **off)(**inputs).logits
        assert torch.equal(always.eval()(**inputs).logits, plain)
        sometimes = held.ours(row, **off, decoder_layerdrop=0.5).train()
        torch.manual_seed(0)
        assert len({float(sometimes(**inputs).logits.sum()) for _ in range(12)}) > 1


def test_configurations(held: Wholes, tmp_path: Path) -> None:
    bart = config_class("bart")(d_model=64, secret=3, decoder_start_token_id=9)
    pair = EncoderDecoderConfig.from_whole(bart)
    assert (pair.whole, pair.encoder.whole, pair.decoder.whole) == ("bart",) * 3
    assert pair.decoder_start_token_id == 9
    assert pair.bridge is None
    pair.decoder_start_token_id = 8
    back = pair.to_whole()
    assert back.decoder_start_token_id == 8
    back.decoder_start_token_id = 9
    assert back == bart
    pair.save_pretrained(tmp_path)
    assert EncoderDecoderConfig.from_pretrained(tmp_path) == pair
    with pytest.raises(ConfigurationError, match="model_type must be that of an encoder-decoder, but is 'bert'"):
        EncoderDecoderConfig.from_whole(config_class("bert")())
    with pytest.raises(ConfigurationError, match="have no configuration of one family"):
        EncoderDecoderConfig(encoder=bart, decoder=bart).to_whole()
    with pytest.raises(ConfigurationError, match="`config` must be an EncoderDecoderConfig, but is a BertConfig"):
        EncoderDecoderModel(config=config_class("bert")())


def test_what_a_file_lacks_or_has_too_much(held: Wholes, tmp_path: Path) -> None:
    row = next(row for row in WHOLES if row.name == "bart")
    folder = held.folder(row)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    stored = load_file(folder / "model.safetensors")

    def opened(tensors: dict[str, torch.Tensor]) -> EncoderDecoderModel:
        save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
        return EncoderDecoderModel.from_pretrained(tmp_path)

    bias = "final_logits_bias"
    without = opened({n: t for n, t in stored.items() if n != bias})  # which the reference fills with zeros as well
    assert float(without.decoder.head.output.bias.abs().max()) == 0  # type: ignore[union-attr]
    copies = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
    table = stored["model.shared.weight"]
    inputs = {**source(row), "decoder_input_ids": target(row)}
    with torch.no_grad():
        logits = held.ours(row)(**inputs).logits
        assert torch.equal(opened({**stored, **{n: table.clone() for n in copies}})(**inputs).logits, logits)
        alone = {n: t for n, t in stored.items() if n != "model.shared.weight"}
        for copy in copies[:2]:
            assert torch.equal(opened({**alone, copy: table})(**inputs).logits, logits)
        bare = {n.removeprefix("model."): t for n, t in stored.items()}
        assert torch.equal(opened(bare)(**inputs).logits, logits)
    with pytest.raises(CheckpointError, match="must be equal, since the halves of 'bart' share them, but they differ"):
        opened({**alone, copies[0]: table, copies[1]: table + 1})
    with pytest.raises(CheckpointError, match=r"layers\.0\.feed_forward\.up\.weight") as caught:
        opened({n: t for n, t in stored.items() if ".0.fc1.weight" not in n} | {"model.encoder.more": table + 2})
    assert str(caught.value).count("layers.0.feed_forward.up.weight") == 2
    assert "model.encoder.more" in str(caught.value)


def test_public_names() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for entry in ENTRIES.values():
            if entry.whole is not None:
                assert issubclass(getattr(seqgraft, entry.whole), EncoderDecoderModel)
                assert hasattr(transformers, entry.whole)
    assert {row.model_type for row in WHOLES} == {name for name, entry in ENTRIES.items() if entry.whole}


@pytest.mark.parametrize("row", [row for row in WHOLES if row.model_type == "prophetnet"], ids=lambda row: row.name)
def test_streams_that_look_ahead(held: Wholes, row: WholeRow) -> None:
    """Training's own loss is the model's, and further streams see less of the text."""
    ours, theirs = held.ours(row), held.theirs(row)
    inputs, goal = source(row), labels(row)
    batch = {**inputs, "labels": goal}
    total, count = token_loss(ours, batch)
    assert count == int((goal != -100).sum())
    assert abs(total.item() / count - ours(**batch).loss.item()) < BOUND * total.item() / count
    summed = ours(**batch, num_items_in_batch=2 * count).loss.item()
    assert abs(2 * summed - ours(**batch).loss.item()) < BOUND * abs(summed)
    with torch.no_grad():
        shifted = ours.prepare_decoder_input_ids_from_labels(goal)
        states = ours.encode(**inputs).last_hidden_state
        seen = {"encoder_hidden_states": states, "encoder_attention_mask": inputs["attention_mask"]}
        mine = ours.decoder(shifted, **seen, output_ngram_logits=True)
        other = theirs(**inputs, decoder_input_ids=shifted, use_cache=False)
        assert distance(mine.logits_ngram, other.logits_ngram) < BOUND
        assert ours.decoder(shifted, **seen).get("logits_ngram") is None
        assert distance(ours.decoder(shifted, **seen).logits, mine.logits) < BOUND
