"""The cost model against forward passes that torch counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import seqgraft
from benchmarks import cost
from seqgraft.torch import product
from seqgraft.torch.cache import EncoderDecoderCache
from seqgraft.torch.record import Memory, Record

TEXT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, "vocab_size": 50}
BERT = seqgraft.BertConfig(**TEXT)
DECODERS = {
    "bert": seqgraft.BertConfig(**TEXT | {"hidden_size": 16}),
    "gpt2": seqgraft.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=60, n_positions=32),
    "llama": seqgraft.LlamaConfig(**TEXT | {"num_key_value_heads": 2, "head_dim": 6, "vocab_size": 60}),
    "mixtral": seqgraft.MixtralConfig(**TEXT | {"num_key_value_heads": 2, "num_local_experts": 3}),
}


@pytest.fixture(params=DECODERS)
def pair(request, monkeypatch):
    """A pair whose products are torch's own, which torch can count."""
    monkeypatch.setattr(product, "library", lambda: "torch")
    config = seqgraft.EncoderDecoderConfig(encoder=BERT, decoder=DECODERS[request.param])
    return seqgraft.EncoderDecoderModel(config).eval()


def counted(run):
    """Operations of matrix products, a multiply and an add being two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()


def operations(parts):
    return sum(part.operations for part in parts)


def test_encoder_and_steps(pair):
    lengths, beams, past = [7, 7, 7], 2, 5
    ids = torch.randint(0, 50, (3, 7))
    encoder, decoder = pair.encoder, pair.decoder
    memory = Memory()
    cache = EncoderDecoderCache(len(decoder.spec.layers))
    record = lambda: Record.asked(False, True)  # noqa: E731  written out: torch does not count every fused attention

    def encode():
        memory.states = encoder.states(ids, record=record())
        if pair.enc_to_dec_proj is not None:
            memory.states = pair.enc_to_dec_proj(memory.states)
        for index, layer in enumerate(decoder.layers):
            if layer.look is not None:
                cache.memory[index] = layer.look.remember(memory.states)

    def step():
        new = torch.zeros(len(lengths) * beams, 1, dtype=torch.long)
        decoder.logits(decoder.states(new, memory=memory, cache=cache, record=record())[:, -1])

    found = counted(encode)
    bridge = 0 if pair.enc_to_dec_proj is None else 2 * pair.enc_to_dec_proj.weight.numel() * sum(lengths)
    assert operations(cost.encoder_pass(encoder.spec, decoder.spec, lengths)) == found - bridge
    for _ in range(past - 1):
        counted(step)
    assert operations(cost.decoder_step(decoder.spec, lengths, beams, past)) == counted(step)


def test_bytes_of_a_step_are_those_of_the_modules_that_run(pair):
    """Every map of which a step of one row makes use is read once; tables of embeddings are not."""
    decoder, read = pair.decoder, {}
    for module in decoder.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda m, i, o: read.update({id(m): m.weight.numel() * 4}))
    cache = EncoderDecoderCache(len(decoder.spec.layers))
    memory = Memory(torch.zeros(1, 3, decoder.spec.memory_width or 24))
    with torch.no_grad():
        cache.memory = [layer.look and layer.look.remember(memory.states) for layer in decoder.layers]
        read.clear()
        decoder.logits(decoder.states(torch.zeros(1, 1, dtype=torch.long), memory=memory, cache=cache)[:, -1])
    assert cost.step_weights(decoder.spec) == sum(read.values())


def test_caches_are_those_that_a_generation_leaves(pair):
    ids = torch.randint(4, 50, (3, 7))
    out = pair.generate(
        ids, max_new_tokens=6, num_beams=2, decoder_start_token_id=1, pad_token_id=0, return_dict_in_generate=True
    )
    cache = out.past_key_values
    own = sum(t.numel() for layer in cache.layers for t in (layer.key, layer.value))
    source = sum(t.numel() for kept in cache.memory if kept for t in kept)
    assert cost.held(pair.encoder.spec, pair.decoder.spec, [7] * 3, 2, 6) == 4 * (own + source)


def test_a_generation_is_its_steps(pair):
    encoder, decoder = pair.encoder.spec, pair.decoder.spec
    first, steps = cost.generation(encoder, decoder, [5, 9], 4, 6)
    each = [cost.decoder_step(decoder, [5, 9], 4, past) for past in range(1, 7)]
    assert operations(steps) == pytest.approx(sum(map(operations, each)))
    assert sum(part.read for part in steps) == pytest.approx(sum(part.read for parts in each for part in parts))
    assert first == cost.encoder_pass(encoder, decoder, [5, 9])
    small = cost.generation(encoder, decoder, [5, 9], 4, 6, weight_bytes=1)[1]
    weights = 6 * (cost.step_weights(decoder) - cost.step_weights(decoder, 1))
    if not any("experts" in name for name, _ in pair.decoder.named_parameters()):  # more rows use more experts
        assert sum(part.read for part in steps) - sum(part.read for part in small) == pytest.approx(weights)


def test_the_limit_is_the_slower_of_reading_and_computing():
    ceilings = cost.Ceilings(100.0, ((10.0, 20.0), (1000.0, 5.0)), 0.5, 0.25)
    reads, computes = cost.Part("a", 50, 100, 2), cost.Part("b", 50, 5000, 0, 4)
    assert ceilings.limit([reads, computes], 8) == 50 / 20 + 50
    assert ceilings.limit([reads, computes], 800) == 50 / 5 + 50
    assert ceilings.read(5000) == 5
    assert ceilings.calls([reads, computes]) == 2 * 0.5 + 4 * 0.25


def test_what_is_not_counted_is_refused():
    config = seqgraft.DebertaV2Config(**TEXT, relative_attention=True, pos_att_type=["p2c", "c2p"])
    model = seqgraft.EncoderDecoderModel(seqgraft.EncoderDecoderConfig(encoder=config, decoder=DECODERS["bert"]))
    with pytest.raises(ValueError, match="disentangled"):
        cost.encoder_pass(model.encoder.spec, model.decoder.spec, [4])
