"""What no batch of text reaches is not left to wait for a gradient (with DDP: for ever), and is told."""

import pytest
import torch

import seqgraft
from seqgraft.spec import waiting
from seqgraft.torch.special import settle
from seqgraft.training.before import freeze_waiting
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.loss import token_loss
from seqgraft.training.trainer import train

from ..families.rows import BY_NAME
from .conftest import PAIRS, SIZES, bert_tokenizer

CASES = {
    "longformer": "global_attention_mask",
    "xlnet": "token_type_ids",
    "xlm": "langs",
    "roc_bert-sound": "input_pronunciation_ids",
}


def made(name):
    torch.manual_seed(0)
    row, tokenizer = BY_NAME[name], bert_tokenizer()
    encoder = seqgraft.AutoConfig.for_model(row.model_type, **{**row.config, "pad_token_id": 0})
    decoder = seqgraft.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **SIZES)
    config = seqgraft.EncoderDecoderConfig(encoder, decoder)
    model = seqgraft.EncoderDecoderModel(config=config)
    settle(model, tokenizer, tokenizer)
    return model, tokenizer


@pytest.mark.parametrize("name", CASES)
def test_all_that_trains_gets_a_gradient(name):
    model, tokenizer = made(name)
    waits = {f"encoder.{one}" for one in waiting(model.encoder.spec)}
    told = freeze_waiting(model)
    assert f"{len(waits)} tensors that only `{CASES[name]}` reaches" in told
    assert freeze_waiting(model) is None
    assert {one for one, parameter in model.named_parameters() if not parameter.requires_grad} == waits
    loss, _ = token_loss(model, TokenizedPairs.make(PAIRS, model, tokenizer)[[0, 1, 2]])
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("name", CASES)
def test_train_tells_it_and_gives_them_back(name):
    model, tokenizer = made(name)
    before = {one: model.encoder.get_parameter(one).detach().clone() for one in waiting(model.encoder.spec)}
    settings = {"max_steps": 1, "device": "cpu", "progress": False, "learning_rate": 0.1, "weight_decay": 0.5}
    result = train(model, tokenizer, PAIRS, output=None, **settings)
    assert any(f"only `{CASES[name]}` reaches" in note for note in result.notes)
    assert all(torch.equal(model.encoder.get_parameter(one), value) for one, value in before.items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_most_families_have_none():
    model, _ = made("bert")
    assert freeze_waiting(model) is None
