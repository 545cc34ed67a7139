"""The mean of the last checkpoints' weights: of the weights that they had, kept at the end, and resumed exactly."""

import pytest
import torch

import seqgraft
from seqgraft.errors import ConfigurationError
from seqgraft.training import averaging, checkpoints
from seqgraft.training.metrics import mean_loss
from seqgraft.training.trainer import train
from seqgraft.training.validation import Validation

from .conftest import PAIRS
from .test_resume import OPTIONS, killed, run, same


def swa(snapshots):
    """torch's own running mean of models."""
    mean = torch.optim.swa_utils.AveragedModel(snapshots[0])
    for one in snapshots:
        mean.update_parameters(one)
    return dict(mean.module.named_parameters())


@pytest.mark.parametrize(("how", "epochs"), [({}, (2, 3, 4)), ({"average_every": 4}, (2, 4))])
def test_the_mean_is_that_of_trainings_which_ended_there(make, tmp_path, how, epochs):
    """Two steps an epoch, at a constant rate. 0 epochs do not count, and fewer than asked for are all."""
    options = {**OPTIONS, "decay": "constant", "warmup": 0.0}
    ended = []
    for count in epochs:
        made = make()
        train(made.model, made.tokenizer, PAIRS, output=None, **{**options, "epochs": count})
        ended.append(made.model)
    made = make()
    result = train(
        made.model, made.tokenizer, PAIRS, output=tmp_path, valid_pairs=PAIRS, average_checkpoints=3, **how, **options
    )
    assert result.averaged == [2 * count for count in epochs]
    wanted = swa(ended)
    for model in (made.model, seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)):
        for name, value in model.named_parameters():
            torch.testing.assert_close(value, wanted[name], rtol=1e-6, atol=1e-7)
    last = dict(ended[-1].named_parameters())["decoder.embed.weight"]
    assert not torch.allclose(made.model.decoder.embed.weight, last, atol=1e-4)
    assert any("mean of those after steps" in note for note in result.notes)


def test_validation_ends_with_the_mean(make):
    from seqgraft.training.data import TokenizedPairs

    made = make()
    options = {**OPTIONS, "valid_pairs": PAIRS, "validation": Validation(every=8)}
    result = train(made.model, made.tokenizer, PAIRS, output=None, average_checkpoints=4, **options)
    assert [entry["step"] for entry in result.validation] == [8, 8]
    own = mean_loss(made.model, TokenizedPairs.make(PAIRS, made.model, made.tokenizer))
    assert result.valid_loss == result.validation[-1]["loss"] == pytest.approx(own, rel=1e-6)
    assert result.validation[0]["loss"] != result.validation[1]["loss"]


def test_what_is_frozen_stays_and_ties_hold(make):
    made = make()
    before = made.model.encoder.embed.weight.detach().clone()
    train(made.model, made.tokenizer, PAIRS, output=None, average_checkpoints=2, freeze=["encoder.*"], **OPTIONS)
    assert torch.equal(made.model.encoder.embed.weight, before)
    assert made.model.decoder.get_output_embeddings().weight is made.model.decoder.embed.weight


def test_killed_and_resumed(make, tmp_path, monkeypatch):
    """What was kept before is kept after: the mean is the same to the bit."""
    how = {"average_checkpoints": 4, "average_every": 2}
    wanted = run(make, None, **how)
    killed(make, tmp_path, 6, monkeypatch, **how)
    assert checkpoints.latest(tmp_path) is not None
    found = run(make, tmp_path, resume=True, **how)
    same(found, wanted)
    assert found[0].averaged == wanted[0].averaged == [2, 4, 6, 8]


def test_the_mean_of_large_numbers_is_exact():
    kept = [{"w": torch.tensor([16777216.0, 1.0])}, {"w": torch.tensor([16777218.0, 2.0])}]
    kept.append({"w": torch.tensor([16777220.0, 3.0])})
    assert averaging.mean(kept)["w"].tolist() == [16777218.0, 2.0]
    assert averaging.mean(kept)["w"].dtype == torch.float32


def test_messages(make):
    made = make()
    for how, message in (
        ({"average_checkpoints": 0}, "`average_checkpoints` must be above 0, but is 0"),
        ({"average_every": 2}, "`average_every` needs `average_checkpoints`"),
        (
            {"average_checkpoints": 2, "valid_pairs": PAIRS, "validation": Validation(best="loss")},
            "best.* must be None .*but is 'loss'",
        ),
    ):
        with pytest.raises(ConfigurationError, match=message):
            train(made.model, made.tokenizer, PAIRS, output=None, **OPTIONS, **how)
