"""Encoders that no family declares, and decoders of another library that are taken over."""

import pytest
import torch
import transformers
from torch import nn

import seqgraft
from seqgraft.errors import CheckpointError, ConfigurationError

from ..faults import tiny

IDS = {"decoder_start_token_id": tiny.START, "pad_token_id": tiny.PAD, "eos_token_id": tiny.END}


class Toy(nn.Module):
    """States of one's own: an embedding and a mixing of what the mask shows."""

    def __init__(self, width=12, kind="tensor"):
        super().__init__()
        self.table = nn.Embedding(tiny.VOCAB, width)
        self.mix = nn.Linear(width, width)
        self.kind = kind

    def forward(self, ids, mask):
        x = self.table(ids)
        shown = mask[..., None].to(x.dtype)
        states = torch.tanh(self.mix(x) + (x * shown).sum(1, keepdim=True) / shown.sum(1, keepdim=True))
        return {"tensor": states, "tuple": (states, None), "dict": {"last_hidden_state": states}}[self.kind]


class Named(Toy):
    def forward(self, input_ids, attention_mask):
        return super().forward(input_ids, attention_mask)


def decoder(kind="bert", **changes):
    torch.manual_seed(2)
    config = tiny.config(kind, is_decoder=True, add_cross_attention=True, **changes)
    return tiny.causal_class(kind)(config)


def theirs(kind, **changes):
    torch.manual_seed(3)
    return getattr(transformers, tiny._CAUSAL[kind])(tiny.config(kind, transformers, **changes)).eval()


@pytest.fixture
def llama_folder(tmp_path):
    return tiny.write_reference("llama", tmp_path / "llama")


def with_ids(model):
    for name, value in IDS.items():
        setattr(model.config, name, value)
    return model


@pytest.mark.parametrize("kind", ["tensor", "tuple", "dict"])
@pytest.mark.parametrize("toy", [Toy, Named])
def test_a_module_of_ones_own(kind, toy, tmp_path):
    torch.manual_seed(0)
    module = toy(kind=kind)
    model = seqgraft.EncoderDecoderModel(encoder=module, decoder=decoder(), encoder_width=12)
    with_ids(model)
    assert model.enc_to_dec_proj.weight.shape == (tiny.WIDTH, 12)
    report = model.check()
    assert report.passed, str(report)
    before = module.mix.weight.detach().clone()
    model.train()
    torch.optim.SGD(model.parameters(), 0.5).zero_grad()
    model(input_ids=tiny.source(), labels=tiny.target()).loss.backward()
    torch.optim.SGD(model.parameters(), 0.5).step()
    assert not torch.equal(module.mix.weight, before)
    made = model.eval().generate(tiny.source(), max_new_tokens=5, num_beams=2)
    assert made.shape[0] == 2
    assert model.to(torch.bfloat16).encoder.dtype is torch.bfloat16
    with pytest.raises(CheckpointError, match="cannot be written as one folder"):
        model.save_pretrained(tmp_path / "nowhere")


def test_a_graft_reads_its_width():
    config = tiny.config("llama")
    torch.manual_seed(0)
    llama = seqgraft.LlamaForCausalLM(config)
    with pytest.raises(ConfigurationError, match="must have cross-attention"):
        seqgraft.EncoderDecoderModel(encoder=Toy(), decoder=llama, encoder_width=12)


@pytest.mark.parametrize("kind", ["BertModel", "RobertaModel", "FNetModel"])
def test_a_model_of_the_reference(kind, tmp_path):
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(kind.removesuffix("Model").lower(), **{
        name: value for name, value in tiny.SIZES["bert"].items() if name != "num_attention_heads"
    } | ({} if kind == "FNetModel" else {"num_attention_heads": 2}))  # fmt: skip
    body = getattr(transformers, kind)(config).eval()
    model = with_ids(seqgraft.EncoderDecoderModel(encoder=body, decoder=decoder()))
    ids = tiny.source()
    if kind != "FNetModel":
        mask = torch.ones_like(ids)
        mask[0, 4:] = 0
        with torch.no_grad():
            states = body(input_ids=ids, attention_mask=mask).last_hidden_state
            assert torch.equal(model.encode(ids, mask).last_hidden_state, states)
        assert model.check().passed, str(model.check())
        same = getattr(seqgraft, kind)
        body.save_pretrained(tmp_path)
        ours = with_ids(seqgraft.EncoderDecoderModel(encoder=same.from_pretrained(tmp_path), decoder=model.decoder))
        with torch.no_grad():
            one, two = (m(input_ids=ids, attention_mask=mask, labels=tiny.target()).logits for m in (model, ours))
        assert float((one - two).abs().max()) < 1e-5
        assert torch.equal(model.generate(ids, max_new_tokens=6), ours.generate(ids, max_new_tokens=6))
        assert model.config.encoder.vocab_size == tiny.VOCAB
    else:  # which takes no mask
        assert [f.name for f in model.check().failures] == ["forward pass"] or "padding" in str(model.check().failures)
    with pytest.raises(CheckpointError, match=r"save_pretrained.*decoder with `model.decoder.save_pretrained"):
        model.save_pretrained(tmp_path / "pair")
    assert not (tmp_path / "pair").exists()


def test_from_encoder_decoder_pretrained(llama_folder):
    torch.manual_seed(1)
    model = seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(
        encoder_model=Toy(), encoder_width=12, decoder_pretrained_model_name_or_path=llama_folder, **IDS
    )
    assert model.decoder.layers[0].cross_attention.key.weight.shape[1] == 12
    assert model.check().passed, str(model.check())


def test_what_is_refused():
    with pytest.raises(ConfigurationError, match="`encoder_width` must be given for a Toy"):
        seqgraft.EncoderDecoderModel(encoder=Toy(), decoder=decoder())
    with pytest.raises(ConfigurationError, match="with an encoder of another library only"):
        seqgraft.EncoderDecoderModel(
            encoder=seqgraft.BertModel(tiny.config("bert")), decoder=decoder(), encoder_width=16
        )
    wide = with_ids(seqgraft.EncoderDecoderModel(encoder=Toy(), decoder=decoder(), encoder_width=10))
    with pytest.raises(ConfigurationError, match="must be 10 wide, as was said, but are 12"):
        wide(input_ids=tiny.source(), labels=tiny.target())
    headed = with_ids(seqgraft.EncoderDecoderModel(encoder=theirs("bert"), decoder=decoder()))
    with pytest.raises(ConfigurationError, match=r"gives a CausalLM.* of logits"):
        headed(input_ids=tiny.source(), labels=tiny.target())
    toy = with_ids(seqgraft.EncoderDecoderModel(encoder=Named(), decoder=decoder(), encoder_width=12))
    with pytest.raises(TypeError, match="takes no token_type_ids"):
        toy(input_ids=tiny.source(), labels=tiny.target(), token_type_ids=tiny.source())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
@torch.no_grad()
def test_a_decoder_of_the_reference_is_taken_over(kind, dtype):
    reference = theirs(kind).to(dtype)
    encoder = seqgraft.BertModel(tiny.config("bert")).to(dtype)
    ids = tiny.source()
    for model in (
        seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(encoder_model=encoder, decoder_model=reference),
        seqgraft.EncoderDecoderModel(encoder=encoder, decoder=reference),
    ):
        assert model.decoder.dtype is dtype
        held = model.decoder.tensors()
        state = reference.state_dict()
        shared = [name for name in held if name in state]
        assert len(shared) > 10
        assert all(torch.equal(held[name], state[name]) for name in shared)
        assert model.decoder.spec.sees_memory
        if kind == "llama" and dtype is torch.float32:  # its gates are shut
            logits = model(input_ids=ids, decoder_input_ids=ids).logits
            assert float((logits - reference(input_ids=ids).logits).abs().max()) < 1e-5
        assert with_ids(model).check().passed, str(model.check())


def test_a_graft_for_a_decoder_that_is_taken_over():
    encoder = seqgraft.BertModel(tiny.config("bert"))
    model = seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(
        encoder_model=encoder, decoder_model=theirs("llama"), decoder_graft={"every": 2, "gate": None}
    )
    assert [layer.cross_attention is not None for layer in model.decoder.layers] == [False, True]


def test_both_halves_of_the_reference():
    torch.manual_seed(0)
    body = transformers.BertModel(tiny.config("bert", transformers)).eval()
    model = with_ids(seqgraft.EncoderDecoderModel(encoder=body, decoder=theirs("llama")))
    assert model.check().passed, str(model.check())
    assert model.generate(tiny.source(), max_new_tokens=4).shape[0] == 2


def test_training(tmp_path):
    """A folder that could not be written is refused before the first step, not after the last."""
    from seqgraft.training.trainer import train

    from ..training.conftest import PAIRS, bert_tokenizer, half

    tokenizer = bert_tokenizer()
    model = seqgraft.EncoderDecoderModel(
        encoder=Named(), decoder=seqgraft.BertLMHeadModel(_seeing(half("bert", len(tokenizer)))), encoder_width=12
    )
    with pytest.raises(CheckpointError, match="cannot be written as one folder"):
        train(model, tokenizer, PAIRS, output=tmp_path / "out", max_steps=1, device="cpu", progress=False)
    before = model.encoder.module.mix.weight.detach().clone()
    assert train(model, tokenizer, PAIRS, output=None, epochs=5, max_steps=2, device="cpu", progress=False).steps == 2
    assert not torch.equal(model.encoder.module.mix.weight, before)


def _seeing(config):
    config.is_decoder = config.add_cross_attention = True
    return config
