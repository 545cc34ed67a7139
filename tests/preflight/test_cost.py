"""`seqgraft inspect` tells the memory of weights and cache; a real cache is that large."""

import json

import pytest
import torch

import seqgraft as library

from ..cli.conftest import bert, folder, gpt2, seqgraft  # noqa: F401
from ..faults import tiny


def of_cache(model, source_time=5, target_time=4):
    """(bytes a source token, bytes a target token) of the cache that a pass really keeps."""
    source = torch.full((1, source_time), 7)
    with torch.no_grad():
        cache = model(input_ids=source, decoder_input_ids=source[:, :target_time], use_cache=True).past_key_values
    size = lambda tensors: sum(t.numel() * t.element_size() for t in tensors)  # noqa: E731
    own = sum(size((layer.key, layer.value)) for layer in cache.layers)
    memory = sum(size(kept) for kept in cache.memory if kept is not None)
    return memory // source_time, own // target_time


def told(seqgraft, *places):  # noqa: F811
    return json.loads(seqgraft("inspect", *places, "--json").stdout)["memory"]


def test_a_pair(seqgraft, folder):  # noqa: F811
    model = library.EncoderDecoderModel.from_pretrained(folder)
    cost = told(seqgraft, folder)
    assert cost["weights"] == model.num_parameters() * 4
    assert (cost["cache_per_source_token"], cost["cache_per_target_token"]) == of_cache(model)
    shown = seqgraft("inspect", folder).stdout
    assert "a source token" in shown
    assert max(map(len, shown.replace(str(folder), "").splitlines())) <= 80


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_two_models(seqgraft, bert, gpt2, tmp_path, dtype):  # noqa: F811
    library.GPT2LMHeadModel.from_pretrained(gpt2, dtype=dtype).save_pretrained(tmp_path)
    model = library.EncoderDecoderModel.from_encoder_decoder_pretrained(bert, tmp_path)
    cost = told(seqgraft, bert, tmp_path)
    sizes = {id(p): p.numel() * p.element_size() for p in model.parameters()}
    assert cost["weights"] == sum(sizes.values())
    if dtype == "float32":
        assert (cost["cache_per_source_token"], cost["cache_per_target_token"]) == of_cache(model)
    assert cost["bytes_per_number"] == (4 if dtype == "float32" else 2)
    assert "memory" in seqgraft("inspect", bert, tmp_path).stdout


@pytest.mark.parametrize("graft", [{"every": 2}, {"how": "inserted"}, {"how": "merged"}])
def test_grouped_heads_and_layers_that_look(seqgraft, tmp_path, graft):  # noqa: F811
    config = tiny.config("llama", graft=graft)
    encoder = tiny.config("bert")
    ids = {"decoder_start_token_id": 5, "pad_token_id": 0, "eos_token_id": 6}
    model = library.EncoderDecoderModel(config=library.EncoderDecoderConfig(encoder, config, **ids))
    model.save_pretrained(tmp_path)
    cost = told(seqgraft, tmp_path)
    own, memory = cost["cache_per_target_token"], cost["cache_per_source_token"]
    assert (memory, own) == of_cache(model)
    assert own == 2 * 2 * 2 * 4 * 4  # layers, key and value, groups, head width, bytes
    assert memory == own // (2 if "every" in graft else 1)


@pytest.mark.parametrize(("model_type", "kind"), [("llama", "between"), ("phi", "inserted")])
def test_what_a_graft_adds(seqgraft, bert, tmp_path, model_type, kind):  # noqa: F811
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(model_type, vocab_size=31, **sizes)
    ).save_pretrained(tmp_path)
    shown = json.loads(seqgraft("inspect", bert, tmp_path, "--json").stdout)
    pair = library.EncoderDecoderModel.from_encoder_decoder_pretrained(bert, tmp_path)
    new = {n: p.numel() for n, p in pair.decoder.named_parameters() if "cross_attention" in n or "inserted" in n}
    forward = sum(size for name, size in new.items() if "feed_forward" in name)
    assert shown["graft"]["how"] == kind
    assert shown["decoder"]["new"].get("feed-forward", 0) == forward
    assert shown["decoder"]["new"]["cross-attention"] == sum(new.values()) - forward
    assert (forward > 0) == (kind == "inserted")


def test_a_tied_pair_counts_once(seqgraft, bert, tmp_path):  # noqa: F811
    model = library.EncoderDecoderModel.from_encoder_decoder_pretrained(bert, bert, tie_encoder_decoder=True)
    model.save_pretrained(tmp_path)
    assert told(seqgraft, tmp_path)["weights"] == model.num_parameters() * 4
