"""Special ids from tokenizers, and a decoder without padding from composing to a saved training."""

import json
from types import SimpleNamespace

import pytest
import torch

import seqgraft as library
from seqgraft.errors import ConfigurationError
from seqgraft.torch.special import pad_token, settle

from ..cli.conftest import bert, gpt2, seqgraft  # noqa: F401
from ..training.conftest import PAIRS, half, tiny


def test_given_with_the_halves(bert, gpt2, caplog):  # noqa: F811
    source, target = library.AutoTokenizer.from_pretrained(bert), library.AutoTokenizer.from_pretrained(gpt2)
    both = {"tokenizer": source, "target_tokenizer": target}
    for given in (both, {"tokenizer": library.PairTokenizer(source, target)}):
        caplog.clear()
        model = library.EncoderDecoderModel.from_encoder_decoder_pretrained(bert, gpt2, **given)
        ids = [model.config.special(f"{name}_token_id") for name in ("decoder_start", "pad", "eos")]
        assert ids == [256, 256, 256]
        assert model.generation_config.decoder_start_token_id == 256
        assert caplog.text.count("Special ids taken") == 1
        assert model.check(**given).passed, str(model.check(**given))
    model = library.EncoderDecoderModel.from_encoder_decoder_pretrained(
        bert, gpt2, tokenizer=source, target_tokenizer=target, pad_token_id=7
    )
    assert model.config.pad_token_id == 7


def test_gpt2_from_compose_to_a_saved_training(seqgraft, bert, gpt2, tmp_path):  # noqa: F811
    """Its end pads: it is learned as a label, seen as an input, written by generation, and cut from the text."""
    from seqgraft.training.data import TokenizedPairs
    from seqgraft.training.trainer import train

    assert seqgraft("compose", bert, gpt2, "-o", tmp_path / "pair").exit_code == 0
    assert seqgraft("doctor", tmp_path / "pair").exit_code == 0
    model = library.EncoderDecoderModel.from_pretrained(tmp_path / "pair")
    tokenizer = library.AutoTokenizer.from_pretrained(tmp_path / "pair")
    batch = TokenizedPairs.make([("a model", "ab"), ("light", "abcd")], model, tokenizer)[[0, 1]]
    assert batch["labels"][0].tolist()[2:] == [256, -100, -100]
    assert batch["labels"][1].tolist()[-1] == 256
    out = model(**batch)
    assert bool(out.loss.isfinite())
    how = {"max_steps": 1, "device": "cpu", "progress": False, "max_source_length": 24}  # as many as the encoder has
    result = train(model, tokenizer, PAIRS, output=tmp_path / "trained", **how)
    assert result.steps == 1
    again = library.EncoderDecoderModel.from_pretrained(tmp_path / "trained")
    made = again.generate(**tokenizer(["a model", "light"], padding=True, return_tensors="pt"), max_new_tokens=4)
    assert all("<|endoftext|>" not in text for text in tokenizer.batch_decode(made, skip_special_tokens=True))


@torch.no_grad()
def test_an_end_that_pads_is_seen():
    """With the mask that is inferred, full passes equal steps, also where the end stands within the text."""
    made = tiny("bert", "gpt2")
    settle(made.model, made.tokenizer.source, made.tokenizer.target)
    for parameter in made.model.parameters():
        parameter.mul_(4)
    source = torch.tensor([[2, 6, 7, 3]])
    ids = torch.tensor([[256, 40, 256, 50, 256]])
    full = made.model(input_ids=source, decoder_input_ids=ids).logits
    cache, steps = library.EncoderDecoderCache(2), []
    for i in range(5):
        out = made.model(input_ids=source, decoder_input_ids=ids[:, i : i + 1], past_key_values=cache, use_cache=True)
        steps.append(out.logits)
    assert float((full - torch.cat(steps, 1)).abs().max()) < 1e-4


def test_padding_of_its_own(seqgraft, bert, gpt2, tmp_path):  # noqa: F811
    done = seqgraft("compose", bert, gpt2, "-o", tmp_path / "pair", "--pad-token", "<pad>", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["special_ids"] == {
        "decoder_start_token_id": 256, "pad_token_id": 257, "eos_token_id": 256,
    }  # fmt: skip
    model = library.EncoderDecoderModel.from_pretrained(tmp_path / "pair")
    assert model.decoder.embed.num_embeddings == 258
    tokenizer = library.AutoTokenizer.from_pretrained(tmp_path / "pair")
    assert tokenizer.target.pad_token == "<pad>"
    assert model.check(tokenizer).passed, str(model.check(tokenizer))
    assert seqgraft("compose", bert, bert, "-o", tmp_path / "x", "--pad-token", "<pad>").exit_code == 2


def test_the_unknown_token_pads_where_it_is_no_end():
    llama = SimpleNamespace(
        pad_token=None, unk_token="<unk>", unk_token_id=0, bos_token_id=1, eos_token="</s>", eos_token_id=2,
        all_special_ids=[0, 1, 2],
    )  # fmt: skip
    assert pad_token(llama) == ("<unk>", "its unknown token")
    config = library.EncoderDecoderConfig(half("bert", 21), half("gpt2", 30))
    for name in ("bos_token_id", "eos_token_id"):
        setattr(config.decoder, name, None)
    model = library.EncoderDecoderModel(config=config)
    assert "pad_token_id = 0 (unk_token)" in settle(model, None, llama)
    assert model.config.special("eos_token_id") == 2
    gpt2_like = SimpleNamespace(pad_token=None, unk_token="x", unk_token_id=5, eos_token="x", eos_token_id=5)
    assert pad_token(gpt2_like) == ("x", "its end")


def test_a_start_that_only_the_decoder_knows():
    """Qwen's tokenizer has no token to start with; its configuration has."""
    qwen = SimpleNamespace(pad_token_id=3, eos_token_id=4)
    model = library.EncoderDecoderModel(config=library.EncoderDecoderConfig(half("bert", 21), half("gpt2", 30)))
    assert "decoder_start_token_id = 29 (the decoder's bos_token_id)" in settle(model, None, qwen)


def test_an_id_without_a_row():
    made = tiny()
    made.model.decoder.resize_token_embeddings(2)
    with pytest.raises(ConfigurationError, match=r"vocabulary \(2\).*cls_token is 2: give every token a row"):
        settle(made.model, made.tokenizer, made.tokenizer)


def test_the_sources_padding_is_told_to_the_encoder():
    made = tiny("gpt2", "bert")
    settle(made.model, made.tokenizer.source, made.tokenizer.target)
    assert made.model.config.encoder.pad_token_id == 256  # or the target's 0 would hide a letter of the source
    ids = torch.tensor([[5, 0, 0, 9]])
    with torch.no_grad():
        one = made.model(input_ids=ids, decoder_input_ids=ids[:, :1] + 1).logits
        two = made.model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=ids[:, :1] + 1).logits
    assert torch.equal(one, two)
