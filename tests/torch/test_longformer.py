"""Longformer's global attention is the reference's: alone, padded, in a pair, saved, trained and generating."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import seqgraft
from seqgraft import EncoderDecoderModel
from seqgraft.torch.halves import EncoderModel
from seqgraft.training.collator import DataCollatorForSeq2Seq
from seqgraft.training.loss import token_loss

from ..families.rows import BY_NAME, batch, distance, pad_of, reference_model
from .pairs import END, PAD, START, labels, target
from .test_family_mathematics import BOUND, compare_gradients, real, same_dropout

NAMES = ["longformer", "longformer-mixed"]
TIMES = [3, 9, 30]
"""Shorter than a window, no multiple of one, several windows."""


def marked(padding: str, time: int, name: str = "longformer") -> dict[str, torch.Tensor]:
    """A batch whose rows have two, one and no token that sees everything, one of them far from all others."""
    inputs = batch(padding, time=time, pad=pad_of(BY_NAME[name]))
    mask = torch.zeros_like(inputs["input_ids"])
    mask[0, 0] = mask[0, time - 1] = mask[1, time // 2] = 1
    return {**inputs, "global_attention_mask": mask}


def wide(theirs: Any, index: int, inputs: dict[str, torch.Tensor], window: int) -> torch.Tensor:
    """The reference's attentions, by distance and apart for global tokens, put together [rows, heads, time, time]."""
    chosen = inputs["global_attention_mask"] * inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
    time, most = chosen.shape[1], int(chosen.sum(1).max())
    near, far = theirs.attentions[index], theirs.global_attentions[index]
    out = near.new_zeros(*near.shape[:2], time, time)
    for row in range(len(chosen)):
        named = chosen[row].nonzero()[:, 0].tolist()
        for query in range(time):
            for slot, key in enumerate(named):
                out[row, :, query, key] = near[row, :, query, slot]
            for slot in range(window + 1):
                key = query + slot - window // 2
                if 0 <= key < time:
                    out[row, :, query, key] += near[row, :, query, most + slot]
        for slot, query in enumerate(named):
            out[row, :, query] = far[row, :, :time, slot]
    return out


@pytest.fixture
def theirs() -> Any:
    """The reference's Longformer in front of its BERT."""
    pair = transformers.EncoderDecoderModel(
        encoder=reference_model(BY_NAME["longformer"], "encoder"),
        decoder=reference_model(BY_NAME["bert"], "decoder", seed=1, cross=True),
    )
    pair.decoder.set_attn_implementation("eager")
    for name, value in {"decoder_start_token_id": START, "pad_token_id": PAD, "eos_token_id": END}.items():
        setattr(pair.config, name, value)
        setattr(pair.generation_config, name, value)
    pair.generation_config.bos_token_id = pair.config.bos_token_id = None
    return pair.eval()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_states_and_attentions(made: Any, name: str, padding: str, time: int, attention: str) -> None:
    row = BY_NAME[name]
    theirs = reference_model(replace(row, mend=None), "encoder")
    ours = made.ours(row, "encoder", attn_implementation=attention)
    inputs = marked(padding, time, name)
    asked = {"output_hidden_states": True, "output_attentions": True}
    mine, other = ours(**inputs, **asked), theirs(**inputs, **asked)
    mask = inputs.get("attention_mask")
    for one, two in zip(mine.hidden_states, other.hidden_states, strict=True):
        assert distance(*real(mask, one, two)) < BOUND
    assert distance(*real(mask, mine[0], ours(**{**inputs, "global_attention_mask": None})[0])) > 1e-3
    for index, (seen, size) in enumerate(zip(mine.attentions, ours.config.windows, strict=True)):
        assert seen.shape == (3, 4, time, time)
        expected = wide(other, index, inputs, size)
        assert distance(*real(mask, seen.transpose(1, 2), expected.transpose(1, 2))) < BOUND


@torch.no_grad()
def test_a_mask_of_two_says_the_same(made: Any) -> None:
    row = BY_NAME["longformer"]
    ours, theirs = made.ours(row, "encoder"), reference_model(row, "encoder")
    inputs = marked("right", 30)
    asked = inputs.pop("global_attention_mask")
    twos = {**inputs, "attention_mask": inputs["attention_mask"] * (1 + asked)}
    found = ours(**twos)[0]
    assert torch.equal(found, ours(**inputs, global_attention_mask=asked)[0])
    assert distance(*real(inputs["attention_mask"], found, theirs(**twos)[0])) < BOUND


@torch.no_grad()
def test_padding_to_a_multiple_changes_nothing(made: Any) -> None:
    ours = made.ours(BY_NAME["longformer"], "encoder")
    inputs = marked("none", 9)
    more = {
        name: torch.nn.functional.pad(value, (0, 3), value=1 if name == "input_ids" else 0)
        for name, value in {**inputs, "attention_mask": torch.ones_like(inputs["input_ids"])}.items()
    }
    assert distance(ours(**more)[0][:, :9], ours(**inputs)[0]) < BOUND


@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("name", NAMES)
def test_gradients(made: Any, name: str, rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the global projections too, and with dropout of the states."""
    row = BY_NAME[name]
    rates = {"hidden_dropout_prob": rate, "attention_probs_dropout_prob": 0.0}
    theirs, ours = reference_model(row, "encoder", **rates), made.ours(row, "encoder", **rates)
    inputs = marked("right", 32, name)
    weights = torch.randn(3, 32, ours.spec.width) * inputs["attention_mask"][..., None]
    monkeypatch.setattr(torch.nn.functional, "dropout", same_dropout)
    for model in (ours, theirs):
        model.train()
        (model(**inputs)[0] * weights).sum().backward()
    assert all(p.grad.abs().max() > 0 for n, p in ours.named_parameters() if "everywhere" in n and "key.bias" not in n)
    compare_gradients(row, ours, theirs)


@torch.no_grad()
def test_pair_saves_loads_and_generates(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path / "theirs")
    ours = EncoderDecoderModel.from_pretrained(tmp_path / "theirs", attn_implementation="eager")
    inputs, said = marked("right", 9), target("bert")
    mine, other = ours(**inputs, **said, use_cache=False), theirs(**inputs, **said, use_cache=False)
    assert distance(*real(said.get("decoder_attention_mask"), mine.logits, other.logits)) < BOUND
    plain = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    assert distance(mine.logits, ours(**plain, **said, use_cache=False).logits) > 1e-3
    unmarked = [model(**plain, **said, use_cache=False).logits for model in (ours, theirs)]
    assert distance(*real(said["decoder_attention_mask"], *unmarked)) < BOUND
    twos = {**plain, "attention_mask": plain["attention_mask"] * (1 + inputs["global_attention_mask"])}
    assert torch.equal(ours(**twos, **said, use_cache=False).logits, mine.logits)
    assert torch.equal(ours.encode(**inputs)[0], mine.encoder_last_hidden_state)

    for settings in ({"num_beams": 1}, {"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}):
        asked = {**settings, "max_length": 12, "do_sample": False}
        found = ours.generate(**inputs, **asked)
        assert torch.equal(found, theirs.generate(**twos, **asked))  # which takes no `global_attention_mask` here
        assert torch.equal(found, ours.generate(**twos, **asked))
    assert not torch.equal(found, ours.generate(**plain, **asked))

    ours.save_pretrained(tmp_path / "ours")
    opened, told = transformers.EncoderDecoderModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(told[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    held = theirs.state_dict()
    assert all(torch.equal(value, held[name]) for name, value in opened.state_dict().items())


def test_pair_loss_and_gradients(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    ours = EncoderDecoderModel.from_pretrained(tmp_path)
    inputs = marked("right", 9)
    mine, other = ours(**inputs, labels=labels()), theirs(**inputs, labels=labels())
    assert abs(mine.loss.item() - other.loss.item()) < BOUND * other.loss.item()
    mine.loss.backward()
    other.loss.backward()
    own = ours.encoder.layers[0].self_attention.everywhere.query.weight.grad
    assert distance(own, theirs.encoder.encoder.layer[0].attention.self.query_global.weight.grad) < BOUND


def test_the_preflight_reads_them(made: Any) -> None:
    encoder = made.ours(BY_NAME["longformer"], "encoder")
    decoder = made.ours(BY_NAME["bert"], "decoder", True)
    pair = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    pair.config.decoder_start_token_id, pair.config.pad_token_id, pair.config.eos_token_id = START, PAD, END
    found = {finding.name: finding for finding in pair.check().findings}
    assert found["gradients"].passed, found["gradients"]


def test_a_family_without_it_says_so(made: Any) -> None:
    inputs = marked("none", 9)
    for name in ("bert", "roberta", "big_bird"):
        with pytest.raises(ValueError, match=f"`global_attention_mask` must be left out, since '{name}'"):
            made.ours(BY_NAME[name], "encoder")(**inputs)


def test_fresh_ones_are_drawn() -> None:
    row = BY_NAME["longformer"]
    model = EncoderModel(seqgraft.LongformerConfig(**row.config))
    everywhere = model.layers[0].self_attention.everywhere
    assert 0.01 < float(everywhere.query.weight.detach().std()) < 0.03
    assert not everywhere.value.bias.any()


def test_a_batch_of_training_says_them(theirs: Any, tmp_path: Path) -> None:
    """The collator pads the mask, and the training loss reads it."""
    theirs.save_pretrained(tmp_path)
    ours = EncoderDecoderModel.from_pretrained(tmp_path)
    words = {"[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    features = [
        {"input_ids": [5, 6, 7, 8, 9], "global_attention_mask": [1, 0, 0, 0, 1], "labels": [5, 6]},
        {"input_ids": [9, 8, 7], "global_attention_mask": [1, 0, 0], "labels": [7, 8]},
    ]
    made = DataCollatorForSeq2Seq(seqgraft.BertTokenizer(vocab=words))(features)
    assert made["global_attention_mask"].tolist() == [[1, 0, 0, 0, 1], [1, 0, 0, 0, 0]]
    loss, count = token_loss(ours, made)
    assert count == 4
    assert abs(float(loss.detach()) / 4 - theirs(**made).loss.item()) < BOUND * 10
    unmarked = {name: value for name, value in made.items() if name != "global_attention_mask"}
    assert abs(float(token_loss(ours, unmarked)[0].detach() - loss.detach())) > 1e-3
