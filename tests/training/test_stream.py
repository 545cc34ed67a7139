"""What each of several processes trains on."""

import pytest
import torch

from seqgraft.errors import ConfigurationError
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.plan import BatchPlan
from seqgraft.training.processes import Processes, rank
from seqgraft.training.special import settle_special_ids
from seqgraft.training.stream import Stream

from .test_exact import sixty_four


@pytest.fixture
def data(make):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    return TokenizedPairs.make(sixty_four(), made.model, made.tokenizer)


def planned(data, rows=6):
    return BatchPlan(data.sources.lengths(), data.targets.lengths(), rows=rows, seed=2)


def steps(data, world, accumulate, epoch=0, start=0):
    """For each optimizer step, what counts: (source, labels) rows of all processes, and what each batch says."""
    out = []
    for number in range(world):
        stream = Stream(data, planned(data), accumulate=accumulate, world=world, rank=number, start=start)
        stream.set_epoch(epoch)
        at = 0
        for batch in stream:
            if len(out) == at:
                out.append(([], set()))
            kept = (batch["labels"] != -100).any(1)
            out[at][0].extend(
                (tuple(ids[mask.bool()].tolist()), tuple(labels[labels != -100].tolist()))
                for ids, mask, labels, held in zip(
                    batch["input_ids"], batch["attention_mask"], batch["labels"], kept, strict=True
                )
                if held
            )
            out[at][1].add((batch["step_tokens"], batch["step_pairs"]))
            at += batch["last"]
        assert at == stream.steps - start % stream.steps
    return out


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_step_is_the_same_however_many_share_it(data, epoch):
    alone = steps(data, 1, 4, epoch)
    assert len(alone) == 3  # of 11 batches
    for world, accumulate in ((2, 2), (4, 1)):
        shared = steps(data, world, accumulate, epoch)
        assert [sorted(rows) for rows, _ in shared] == [sorted(rows) for rows, _ in alone]
        assert [said for _, said in shared] == [said for _, said in alone]
    for rows, said in alone:
        assert said == {(sum(len(labels) for _, labels in rows), len(rows))}
    assert sum(len(rows) for rows, _ in alone) == 64


def test_all_have_as_many_batches(data):
    """The last step has 3 batches for 4 processes."""
    each = [list(Stream(data, planned(data), world=4, rank=number)) for number in range(4)]
    assert {len(batches) for batches in each} == {3}
    counted = [bool((batches[-1]["labels"] != -100).any()) for batches in each]
    assert counted == [True, True, True, False]


def test_it_begins_where_it_is_told(data):
    whole = steps(data, 2, 2, epoch=1)
    stream = Stream(data, planned(data), accumulate=4, start=3 + 1)
    assert stream.epoch == 1
    labels = [batch["labels"] for batch in stream]
    assert len(labels) == 7
    assert steps(data, 1, 4, epoch=1, start=3 + 1)[0][1] == whole[1][1]
    stream.set_epoch(2)
    assert len(list(stream)) == 11


def test_processes(monkeypatch):
    for name in (
        "RANK",
        "LOCAL_RANK",
        "NODE_RANK",
        "SLURM_PROCID",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "TORCHELASTIC_RUN_ID",
    ):
        monkeypatch.delenv(name, raising=False)
    assert (Processes.asked(None, 1), rank()) == (Processes(1, 1), 0)
    assert Processes.asked(4, 2).world == 8
    with pytest.raises(ConfigurationError, match="`devices` must be at least 1"):
        Processes.asked(0, 1)
    monkeypatch.setenv("SLURM_PROCID", "2")  # srun
    assert not Processes(4, 1).first()
    assert Processes(1, 1).first()  # of several trainings, each for itself
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert rank() == 3
    assert not Processes(4, 1).first()
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("NODE_RANK", "1")  # Lightning's launcher, on the second machine
    assert not Processes(4, 2).first()
    assert Processes(4, 1).first()
    for name, value in (("RANK", 5), ("WORLD_SIZE", 8), ("LOCAL_WORLD_SIZE", 4), ("TORCHELASTIC_RUN_ID", "x")):
        monkeypatch.setenv(name, str(value))
    assert (Processes.asked(None, 1), rank()) == (Processes(4, 2), 5)
    assert Processes.asked(4, 2) == Processes(4, 2)
    with pytest.raises(ConfigurationError, match="torchrun started 4 processes on 2 machines"):
        Processes.asked(3, 1)


def test_batches_are_tensors_that_need_no_more_work(data):
    batch = next(iter(Stream(data, planned(data))))
    assert batch["input_ids"].dtype == batch["labels"].dtype == torch.int64
    assert (batch["last"], type(batch["step_tokens"])) == (True, int)
