"""Fault 9: `tie_encoder_decoder` ties, is saved and restored, and tied checkpoints of version 4 load whole."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import seqgraft
from seqgraft import EncoderDecoderModel

from . import tiny

FAMILIES = ["bert", "roberta"]
CASED = {"vocab_size": 28996}
POOLER = 768 * 769


def _tied(model):
    """Every tensor of the encoder is the decoder's own."""
    other = dict(model.decoder.named_parameters())
    shared = {n: p for n, p in model.encoder.named_parameters() if not n.startswith("pooler.")}
    assert shared
    assert model.config.tie_encoder_decoder
    return all(parameter is other[name] for name, parameter in shared.items())


def _logits(model):
    with torch.no_grad():
        return model(input_ids=tiny.source(), labels=tiny.target()).logits


def _on_meta(library, fields, *, pooler=True, **pair):
    with torch.device("meta"):
        config = library.EncoderDecoderConfig.from_encoder_decoder_configs(
            library.BertConfig(**fields), library.BertConfig(**fields), **pair
        )
        encoder = library.BertModel(config.encoder) if pooler else None
        return library.EncoderDecoderModel(config=config, encoder=encoder)


@pytest.mark.parametrize(("fields", "count"), [({}, 247_363_386), (CASED, 245_017_924)], ids=["uncased", "cased"])
def test_published_sizes(fields, count):
    """BERT-base twice on the meta device: nothing is allocated. The pooler comes with the class, not with the pair."""
    assert _on_meta(seqgraft, fields).num_parameters() == count
    assert _on_meta(transformers, fields).num_parameters() == count
    assert _on_meta(seqgraft, fields, pooler=False).num_parameters() == count - POOLER


def test_published_size_of_the_tied_cased_pair():
    with_pooler = _on_meta(seqgraft, CASED, tie_encoder_decoder=True)
    assert _tied(with_pooler)
    assert with_pooler.num_parameters() == 137_298_244
    assert _on_meta(seqgraft, CASED, pooler=False, tie_encoder_decoder=True).num_parameters() == 137_298_244 - POOLER
    assert _on_meta(transformers, CASED, tie_encoder_decoder=True).num_parameters() == 245_017_924


@pytest.mark.parametrize("family", FAMILIES)
def test_every_way_of_asking(family, written, tmp_path):
    folder = written[family]
    make = EncoderDecoderModel.from_encoder_decoder_pretrained
    config = tiny.pair_config(family, family, tie_encoder_decoder=True)
    plain = make(folder, folder)
    for model in (
        make(folder, folder, tie_encoder_decoder=True),
        make(folder, folder, config=config),
        EncoderDecoderModel(config=config),
        EncoderDecoderModel.from_config(config),
    ):
        assert _tied(model)
        assert model.num_parameters() < 0.7 * plain.num_parameters()
    # the checkpoint's weights, not other ones
    tied = make(folder, folder, tie_encoder_decoder=True)
    torch.testing.assert_close(tied.encoder(tiny.source())[0], plain.encoder(tiny.source())[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_restored(family, tmp_path):
    model = tiny.pair(family, family, tie_encoder_decoder=True)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tie_encoder_decoder"] is True
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert _tied(again)
    assert again.num_parameters() == model.num_parameters()
    assert torch.equal(_logits(again), _logits(model))
    again.save_pretrained(tmp_path)
    assert torch.equal(_logits(EncoderDecoderModel.from_pretrained(tmp_path)), _logits(model))
    ids = tiny.source()
    assert torch.equal(again.generate(ids, max_new_tokens=4), model.generate(ids, max_new_tokens=4))


def test_the_reference_reads_our_tied_folder_whole(tmp_path):
    """It knows of no tie, so the file holds both copies."""
    model = tiny.pair(tie_encoder_decoder=True)
    model.save_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    torch.testing.assert_close(_logits(theirs), _logits(model), atol=1e-5, rtol=1e-4)


def _keep_only(folder, unwanted):
    """Rewrite a pair's file without the names that `unwanted` says."""
    tensors = load_file(folder / "model.safetensors")
    kept = {n: t for n, t in tensors.items() if not unwanted(n)}
    assert len(kept) < len(tensors)
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("kept", ["decoder", "encoder", "some of each"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_with_one_copy(family, kept, tmp_path):
    """Version 4 wrote each shared tensor once: the decoder's, or the encoder's."""
    model = tiny.pair(family, family, tie_encoder_decoder=True)
    expected = _logits(model)
    model.save_pretrained(tmp_path)

    def unwanted(name):
        if kept == "decoder":
            return name.startswith("encoder.")
        body = f"decoder.{family}."
        copy = name.startswith(body) and ".crossattention." not in name
        if kept == "encoder":
            return copy
        return copy if ".layer.0." in name else name.startswith("encoder.")

    _keep_only(tmp_path, unwanted)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert _tied(again)
    assert torch.equal(_logits(again), expected)
    if kept == "decoder":
        theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
        assert not torch.allclose(_logits(theirs), expected, atol=1e-2), "the reference starts with a random encoder"


def test_a_file_with_one_copy_that_is_not_said_to_be_tied_is_an_error(tmp_path):
    tiny.pair().save_pretrained(tmp_path)
    _keep_only(tmp_path, lambda name: name.startswith("encoder."))
    with pytest.raises(ValueError, match="Missing"):
        EncoderDecoderModel.from_pretrained(tmp_path)


def test_said_to_be_tied_but_different(tmp_path, caplog):
    """The reference stored the field and trained the halves apart: both are kept, and it is said."""
    model = tiny.pair()
    model.save_pretrained(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**said, "tie_encoder_decoder": True}))
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(_logits(again), _logits(model))
    assert again.num_parameters() == model.num_parameters()
    assert not again.config.tie_encoder_decoder
    [message] = [r.getMessage() for r in caplog.records if "tied" in r.getMessage()]
    assert "loaded as they are, untied" in message
    assert "\n" not in message
    again.save_pretrained(tmp_path / "again")
    assert torch.equal(_logits(EncoderDecoderModel.from_pretrained(tmp_path / "again")), _logits(model))


@pytest.mark.parametrize("decoder", ["gpt2", "llama"])
def test_halves_that_cannot_be_tied_are_an_error(decoder):
    with pytest.raises(ValueError, match="`tie_encoder_decoder` needs halves alike, but"):
        tiny.pair("bert", decoder, tie_encoder_decoder=True)
    with pytest.raises(ValueError, match=r"`tie_encoder_decoder` needs halves alike, but 'embed.weight'"):
        tiny.pair("bert", "bert", tie_encoder_decoder=True, decoder__vocab_size=50)


def test_gradients_flow_into_one_copy_from_both_sides():
    torch.manual_seed(2)
    tied = tiny.pair(tie_encoder_decoder=True)
    apart = tiny.pair()
    apart.encoder.load_state_dict(tied.encoder.state_dict())
    apart.decoder.load_state_dict(tied.decoder.state_dict())
    inputs = {"input_ids": tiny.source(), "labels": tiny.target()}
    for model in (tied, apart):
        model(**inputs).loss.backward()
    assert torch.equal(_logits(tied), _logits(apart))
    own, other = dict(apart.encoder.named_parameters()), dict(apart.decoder.named_parameters())
    for name, parameter in tied.decoder.named_parameters():
        expected = other[name].grad + own[name].grad if name in own else other[name].grad
        torch.testing.assert_close(parameter.grad, expected, atol=1e-6, rtol=1e-4, msg=name)
    named = list(tied.parameters())
    assert len({id(p) for p in named}) == len(named), "an optimizer sees each tensor once"


def test_a_step_moves_both_halves_and_the_tie_survives():
    model = tiny.pair(tie_encoder_decoder=True)
    before = model.encoder.get_input_embeddings().weight.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(input_ids=tiny.source(), labels=tiny.target()).loss.backward()
    optimizer.step()
    assert not torch.equal(model.encoder.get_input_embeddings().weight, before)
    assert _tied(model)
    model.to(torch.float64)
    assert _tied(model)
    model.tie_weights()
    assert _tied(model)


def test_the_tie_survives_a_state_dict():
    model, other = tiny.pair(tie_encoder_decoder=True), tiny.pair(tie_encoder_decoder=True)
    other.load_state_dict(model.state_dict())
    assert _tied(other)
    assert torch.equal(_logits(other), _logits(model))


def test_a_resized_vocabulary_stays_tied(tmp_path):
    """Both halves need the same table, so they are resized together or not saved as tied."""
    model = tiny.pair(tie_encoder_decoder=True)
    model.decoder.resize_token_embeddings(tiny.VOCAB + 3)
    with pytest.raises(ValueError, match=r"needs halves alike, but 'embed.weight'"):
        model.save_pretrained(tmp_path)
    model.encoder.resize_token_embeddings(tiny.VOCAB + 3)
    with pytest.raises(ValueError, match=r"must share 'embed.weight', but each has its own: call model.tie_weights"):
        model.save_pretrained(tmp_path)
    model.tie_weights()
    assert _tied(model)
    model.save_pretrained(tmp_path)
    assert _tied(EncoderDecoderModel.from_pretrained(tmp_path))
