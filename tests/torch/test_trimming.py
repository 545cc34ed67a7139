"""First layers of a checkpoint, and fewer rows of its tables: held against `transformers` and against the whole."""

import copy

import pytest
import torch
import transformers

import seqgraft
from seqgraft.errors import ConfigurationError
from seqgraft.torch.trimming import first_layers, keep_rows

SIZES = {"vocab_size": 40, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 5, 3, 0, 0]])
MASK = (IDS != 0).long()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """BERT, GPT-2, BART and ModernBERT of 4 layers as `transformers` writes them."""
    root = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    t = transformers
    bert = t.BertForMaskedLM(t.BertConfig(num_hidden_layers=4, **SIZES))
    torch.nn.init.normal_(bert.cls.predictions.bias)
    ids = {"bos_token_id": 1, "eos_token_id": 1}
    gpt2 = t.GPT2LMHeadModel(t.GPT2Config(vocab_size=40, n_embd=16, n_layer=4, n_head=2, n_positions=32, **ids))
    sides = {"layers": 4, "attention_heads": 2, "ffn_dim": 32}
    bart = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in sides.items()}
    bart_ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2}
    bart_ids |= {"forced_eos_token_id": 3}
    made = {
        "bert": bert,
        "gpt2": gpt2,
        "bart": t.BartForConditionalGeneration(t.BartConfig(vocab_size=40, d_model=16, **bart, **bart_ids)),
        "modernbert": t.ModernBertModel(
            t.ModernBertConfig(num_hidden_layers=4, pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2,
                               sep_token_id=3, **SIZES)
        ),
    }  # fmt: skip
    for name, model in made.items():
        model.eval().save_pretrained(root / name)
    return {name: root / name for name in made}


@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "bert"), ("modernbert", "gpt2"), ("bart", "bert")])
def test_first_layers_are_the_layers_of_the_checkpoint(folders, tmp_path, encoder, decoder):
    cut = seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(
        folders[encoder], folders[decoder], encoder_num_hidden_layers=2, decoder_num_hidden_layers=3
    )
    assert (len(cut.encoder.layers), len(cut.decoder.layers)) == (2, 3)
    whole = transformers.AutoModel.from_pretrained(folders[encoder]).eval()
    whole = whole.encoder if encoder == "bart" else whole
    layers = whole.encoder.layer if encoder == "bert" else whole.layers
    seen = {}
    layers[1].register_forward_hook(lambda _, __, out: seen.update(states=out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        whole(input_ids=IDS, attention_mask=MASK)
        own = cut.encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
    theirs = whole.final_norm(seen["states"]) if encoder == "modernbert" else seen["states"]
    assert torch.allclose(own[MASK.bool()], theirs[MASK.bool()], atol=1e-5)
    cut.save_pretrained(tmp_path)
    again = seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(again.encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state, own)


def test_layers_that_there_are_not(folders):
    for count in (0, 5):
        with pytest.raises(ConfigurationError, match=f"must be 1 to 4.* but is {count}"):
            seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(
                folders["bert"], folders["bert"], encoder_num_hidden_layers=count
            )
    half = seqgraft.BertModel.from_pretrained(folders["bert"])
    assert first_layers(half, 4) is half
    with pytest.raises(TypeError, match="encoder_num_hidden_layers"):
        seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(
            None, folders["bert"], encoder_model=half, encoder_num_hidden_layers=2
        )


@pytest.mark.parametrize("decoder", ["bert", "gpt2"])
def test_kept_rows_compute_what_they_did(folders, tmp_path, decoder):
    ids = {"decoder_start_token_id": 1, "pad_token_id": 0, "eos_token_id": 3}
    pair = seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(folders["bert"], folders[decoder], **ids)
    whole = copy.deepcopy(pair)
    source, target = [0, 2, 3, 5, 7, 9, 11, 30], [0, 1, 3, 8, 9, 39, 20]
    keep_rows(pair, source, target)
    assert pair.encoder.embed.num_embeddings == pair.config.encoder.vocab_size == 8
    assert pair.decoder.get_output_embeddings().weight is pair.decoder.embed.weight
    assert (pair.config.decoder_start_token_id, pair.config.eos_token_id) == (1, 2)
    assert pair.generation_config.eos_token_id == 2
    new = torch.tensor([[source.index(index) for index in row] for row in IDS.tolist()])
    labels = torch.tensor([[8, 39, 3], [20, 9, 3]])
    with torch.no_grad():
        theirs = whole(input_ids=IDS, attention_mask=MASK, decoder_input_ids=labels).logits[..., target]
        moved = torch.tensor([[target.index(index) for index in row] for row in labels.tolist()])
        own = pair(input_ids=new, attention_mask=MASK, decoder_input_ids=moved).logits
    assert torch.allclose(own, theirs, atol=1e-6)
    pair.save_pretrained(tmp_path)
    opened = transformers.EncoderDecoderModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.allclose(opened(new, MASK, decoder_input_ids=moved).logits, own, atol=1e-5)


def test_rows_that_must_be_kept(folders):
    model = seqgraft.BartForConditionalGeneration.from_pretrained(folders["bart"])
    with pytest.raises(ConfigurationError, match="`eos_token_id` is 3, so that row must be kept"):
        keep_rows(model, [0, 2, 5], [0, 2, 5])
    with pytest.raises(ConfigurationError, match="must keep the same rows"):
        keep_rows(model, [0, 2, 3, 5], [0, 2, 3, 6])
    keep_rows(model, [0, 2, 3, 6], [0, 2, 3, 6])
    assert model.encoder.embed.weight is model.decoder.embed.weight
    assert (model.config.eos_token_id, model.generation_config.forced_eos_token_id) == (2, 2)
