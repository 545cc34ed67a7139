"""`seqgraft compose`."""

import json

import pytest
import torch

import seqgraft as library

from ..pipelines.tiny import TEXTS


def test_one_vocabulary(seqgraft, bert, tmp_path):
    out = tmp_path / "pair"
    done = seqgraft("compose", bert, bert, "-o", out)
    assert done.exit_code == 0, done.stderr
    model = library.EncoderDecoderModel.from_pretrained(out)
    plain = library.BertModel.from_pretrained(bert)
    assert torch.equal(model.encoder.embed.weight, plain.embed.weight)
    assert torch.equal(model.decoder.embed.weight, plain.embed.weight)
    ids = [model.config.special(f"{name}_token_id") for name in ("decoder_start", "pad", "eos")]
    assert ids == [2, 0, 3]
    assert type(library.AutoTokenizer.from_pretrained(out)).__name__ == "BertTokenizer"
    new = sum(p.numel() for n, p in model.decoder.named_parameters() if "cross_attention" in n)
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("cross-attention"))
    assert row == ["cross-attention", "-", f"{new:,}", f"{new:,}"]
    told = next(line for line in done.stderr.splitlines() if line.startswith("Special ids"))
    assert "decoder_start_token_id = 2" in told
    assert "eos_token_id = 3" in told
    assert f"seqgraft train {out}" in done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert library.pipeline("summarization", model=out, device=-1, max_new_tokens=3)(TEXTS, batch_size=2)


def test_two_vocabularies(seqgraft, bert, gpt2, tmp_path):
    out = tmp_path / "pair"
    done = seqgraft("compose", bert, gpt2, "--output", out, "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    model = library.EncoderDecoderModel.from_pretrained(out)
    assert report["total"] == model.num_parameters()
    new = [p for n, p in model.decoder.named_parameters() if "cross_attention" in n]
    bridge = list(model.enc_to_dec_proj.parameters()) if model.enc_to_dec_proj is not None else []
    assert report["new_total"] == sum(p.numel() for p in [*new, *bridge])
    tokenizer = library.AutoTokenizer.from_pretrained(out)
    assert isinstance(tokenizer, library.PairTokenizer)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == report["special_ids"]["eos_token_id"] == 256
    assert report["special_ids"] == {"decoder_start_token_id": 256, "pad_token_id": 256, "eos_token_id": 256}
    assert library.pipeline("summarization", model=out, device=-1, max_new_tokens=3)(TEXTS, batch_size=2)


def test_what_is_told_of_two_vocabularies(seqgraft, gpt2, bert, tmp_path):
    done = seqgraft("compose", gpt2, bert, "-o", tmp_path / "pair")
    assert "The source tokenizer has no padding of its own: '<|endoftext|>' serves." in done.stderr
    assert "a source and a target tokenizer" in done.stderr
    pipe = library.pipeline("summarization", model=tmp_path / "pair", device=-1, max_new_tokens=3)
    texts = ["a", "a model", "light"]
    assert pipe(texts, batch_size=3) == [pipe(text)[0] for text in texts]


def test_options(seqgraft, bert, tmp_path):
    ids = ("--start-id", 4, "--pad-id", 1, "--eos-id", 5)
    done = seqgraft("compose", bert, bert, "-o", tmp_path / "pair", "--tie", "--dtype", "bfloat16", *ids)
    assert done.exit_code == 0, done.stderr
    model = library.EncoderDecoderModel.from_pretrained(tmp_path / "pair")
    assert model.dtype is torch.bfloat16
    assert model.encoder.embed.weight is model.decoder.embed.weight
    assert [model.config.special(f"{n}_token_id") for n in ("decoder_start", "pad", "eos")] == [4, 1, 5]
    assert model.generation_config.decoder_start_token_id == 4
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("whole model"))
    assert row == ["whole", "model", f"{model.num_parameters():,}"]


def test_the_same_seed_gives_the_same_weights(seqgraft, bert, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert seqgraft("compose", bert, bert, "-o", tmp_path / name, "--seed", seed).exit_code == 0
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A plain decoder without cross-attention in its published design; its tokenizer is GPT-2's."""
    from ..pipelines import tiny

    folder = tmp_path_factory.mktemp("llama")
    config = library.LlamaConfig(
        vocab_size=257,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=256,
        eos_token_id=256,
    )
    tiny.spread(library.LlamaForCausalLM(config)).save_pretrained(folder)
    library.GPT2Tokenizer.from_pretrained(tiny.gpt2_files(folder)).save_pretrained(folder)
    return folder


def test_graft(seqgraft, bert, llama, tmp_path):
    for name, flags, gate, layers in (
        ("plain", (), "tanh", [0, 1, 2, 3]),
        ("every", ("--graft-every", 2), "tanh", [1, 3]),
        ("open", ("--graft-gate", "none", "--graft-every", 4), None, [3]),
    ):
        done = seqgraft("compose", bert, llama, "-o", tmp_path / name, *flags, "--json")
        assert done.exit_code == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["graft"]["gate"] == gate
        model = library.EncoderDecoderModel.from_pretrained(tmp_path / name)
        assert [i for i, layer in enumerate(model.decoder.spec.layers) if layer.cross_attention] == layers
        assert report["total"] == model.num_parameters()
    done = seqgraft("compose", bert, llama, "-o", tmp_path / "x", "--graft-every", 9)
    assert done.exit_code == 1
    assert "at most the number of layers (4), but is 9" in done.stderr
    assert seqgraft("compose", bert, llama, "-o", tmp_path / "x", "--graft-gate", "sigmoid").exit_code == 2
    assert seqgraft("compose", bert, bert, "-o", tmp_path / "x", "--graft-every", 2).exit_code == 2
    assert not (tmp_path / "x").exists()


def test_refusals(seqgraft, bert, gpt2, folder, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.tex").write_text("dear reader")
    done = seqgraft("compose", bert, bert, "-o", tmp_path / "notes")
    assert done.exit_code == 1
    assert "holds other files (thesis.tex)" in done.stderr
    assert "--force" in done.stderr
    assert seqgraft("compose", bert, bert, "-o", tmp_path / "notes", "--force").exit_code == 0
    assert (tmp_path / "notes" / "thesis.tex").read_text() == "dear reader"
    assert "holds a model" in seqgraft("compose", bert, bert, "-o", tmp_path / "notes").stderr
    assert "is a file" in seqgraft("compose", bert, bert, "-o", tmp_path / "notes" / "config.json").stderr
    done = seqgraft("compose", bert, gpt2, "-o", tmp_path / "x", "--tie")
    assert done.exit_code == 1
    assert "tie_encoder_decoder" in done.stderr
    done = seqgraft("compose", folder, bert, "-o", tmp_path / "x")
    assert done.exit_code == 1
    assert "encoder-decoder" in done.stderr
    done = seqgraft("compose", bert, tmp_path / "nowhere", "-o", tmp_path / "x")
    assert done.exit_code == 1
    assert "nowhere" in done.stderr
    assert seqgraft("compose", bert, bert, "-o", tmp_path / "x", "--start-id", 4000).exit_code == 2
    assert not (tmp_path / "x").exists()


def test_over_a_pair_with_two_tokenizers(seqgraft, bert, gpt2, tmp_path):
    assert seqgraft("compose", bert, gpt2, "-o", tmp_path / "pair").exit_code == 0
    assert seqgraft("compose", bert, bert, "-o", tmp_path / "pair", "--force").exit_code == 0
    assert type(library.AutoTokenizer.from_pretrained(tmp_path / "pair")).__name__ == "BertTokenizer"


def test_without_tokenizers(seqgraft, bert, tmp_path):
    assert seqgraft("compose", bert, bert, "-o", tmp_path / "pair", "--no-tokenizers", "--start-id", 2).exit_code == 0
    assert not list((tmp_path / "pair").glob("tokenizer*"))


def test_smaller_models(seqgraft, bert, tmp_path):
    """Fewer layers and only the vocabulary of a file: the folder opens, trains and says what it holds."""
    from ..pipelines.tiny import TEXTS

    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps({"source": text, "short": "the plant"}) + "\n" for text in TEXTS[:2]))
    flags = ("--encoder-num-hidden-layers", 1, "--vocabulary-from", data, "--init", "decoder=scratch")
    flags += ("--target-field", "short")
    done = seqgraft("compose", bert, bert, "-o", tmp_path / "small", *flags, "--json")
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["encoder"]["layers"], made["decoder"]["layers"]) == (1, 2)
    whole = library.AutoTokenizer.from_pretrained(bert)
    tokenizer = library.AutoTokenizer.from_pretrained(tmp_path / "small")
    assert made["encoder"]["vocabulary"] == made["decoder"]["vocabulary"] == len(tokenizer) < len(whole)
    for text in TEXTS[:2]:
        assert tokenizer.tokenize(text) == whole.tokenize(text)
    model = library.EncoderDecoderModel.from_pretrained(tmp_path / "small")
    plain = library.BertModel.from_pretrained(bert)
    assert torch.equal(model.encoder.layers[0].feed_forward.up.weight, plain.layers[0].feed_forward.up.weight)
    assert not torch.equal(model.decoder.layers[0].feed_forward.up.weight, plain.layers[0].feed_forward.up.weight)
    assert made["new"]["feed-forward"] > 0
    assert made["total"] == model.num_parameters()
    named = ("--max-steps", 1, "--target-field", "short")
    trained = seqgraft("train", tmp_path / "small", "-d", data, "-o", tmp_path / "out", *named)
    assert trained.exit_code == 0, trained.stderr
    refused = seqgraft("compose", bert, bert, "-o", tmp_path / "no", "--encoder-num-hidden-layers", 9)
    assert (refused.exit_code, "must be 1 to 2" in refused.stderr) == (1, True)
    refused = seqgraft("compose", bert, bert, "-o", tmp_path / "no", "--vocabulary-from", data, "--no-tokenizers")
    assert refused.exit_code == 2
    assert not (tmp_path / "no").exists()
