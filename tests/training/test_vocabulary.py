"""Fewer tokens: texts are cut as before, and the model gives for them what it gave."""

import copy
import json

import pytest
import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

import seqgraft
from seqgraft.errors import DataError
from seqgraft.text.trimming import keep_tokens
from seqgraft.training.special import settle_special_ids
from seqgraft.training.vocabulary import keep_used

TEXTS = [
    "The cat sat on the mat and sang a song of mats and cats.",
    "Understanding misunderstandings is understandable, they understood.",
    "Plants create energy through photosynthesis, converting carbon dioxide and water into glucose.",
    "unrelated transformations transform transformers transforming the information",
]
USED = [TEXTS[0], TEXTS[2]]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def trained(kind):
    """A tokenizer of 300 tokens, trained by the `tokenizers` library, with BERT's frame."""
    if kind == "WordPiece":
        made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    elif kind == "BPE":
        made = tokenizers.Tokenizer(models.BPE(unk_token="[UNK]"))
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    else:
        made = tokenizers.Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=120, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False
        )
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Metaspace() if kind == "Unigram" else pre_tokenizers.Whitespace()
    made.train_from_iterator(TEXTS * 3, trainer)
    ends = [(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    named = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return seqgraft.PreTrainedTokenizerFast(tokenizer_object=made, **named)


@pytest.mark.parametrize("kind", ["WordPiece", "BPE", "Unigram"])
def test_texts_of_the_tokens_that_stay_are_cut_as_before(kind, tmp_path):
    whole = trained(kind)
    used = {index for row in whole(USED)["input_ids"] for index in row}
    cut, old = keep_tokens(whole, used)
    assert used <= set(old)
    assert len(cut) == len(old) < 0.9 * len(whole)
    for text in USED:
        assert [old[index] for index in cut(text)["input_ids"]] == whole(text)["input_ids"]
        assert cut.decode(cut(text)["input_ids"]) == whole.decode(whole(text)["input_ids"])
    assert [old[index] for index in cut("cat", "mat")["input_ids"]] == whole("cat", "mat")["input_ids"]
    assert cut.pad_token_id == old.index(whole.pad_token_id)
    if kind != "Unigram":  # its model has no letters that the training left out
        assert cut.unk_token_id not in cut("transforming understandings")["input_ids"]
    cut.save_pretrained(tmp_path)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert theirs(TEXTS)["input_ids"] == cut(TEXTS)["input_ids"]


def test_frames_follow_special_tokens_that_move():
    words = ["[PAD]", "[UNK]", "the", "cat", "dog", "mat", "[MASK]", "[SEP]", "[CLS]"]
    whole = seqgraft.BertTokenizer(vocab={token: index for index, token in enumerate(words)})
    cut, old = keep_tokens(whole, {2, 5})
    assert old == [0, 1, 2, 5, 6, 7, 8]
    assert cut("the mat")["input_ids"] == [6, 2, 3, 5]
    assert cut("the", "mat")["input_ids"] == [6, 2, 5, 3, 5]
    assert (cut.cls_token_id, cut.sep_token_id, cut("dog")["input_ids"]) == (6, 5, [6, 1, 5])


def test_byte_level_bpe(tmp_path):
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(TEXTS * 3, vocab_size=500, special_tokens=["<|endoftext|>"], show_progress=False)
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    whole = seqgraft.GPT2Tokenizer.from_pretrained(tmp_path)
    cut, old = keep_tokens(whole, {index for row in whole(USED)["input_ids"] for index in row})
    assert type(cut) is type(whole)
    assert 256 < len(cut) < len(whole)
    for text in USED:
        assert [old[index] for index in cut(text)["input_ids"]] == whole(text)["input_ids"]
    strange = "Ünrelated 漢字 🙂"
    assert cut.decode(cut(strange)["input_ids"]) == strange


@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "bert"), ("bert", "gpt2"), ("bart", "bart")])
def test_the_model_gives_what_it_gave(make, pairs, encoder, decoder, tmp_path):
    made = make(encoder, decoder)
    settle_special_ids(made.model, made.tokenizer)
    made.model.decoder.head.output.bias is None or torch.nn.init.normal_(made.model.decoder.head.output.bias)
    whole, few = copy.deepcopy(made.model), pairs[2:4]
    tokenizer, told = keep_used(made.model, made.tokenizer, few)
    before, after = whole.num_parameters(), made.model.num_parameters()
    assert after < before if "bert" in (encoder, decoder) else after <= before
    assert "used by 2 pairs" in told[0]
    for source, target in few:
        held = {}
        for name, model, reader in (("whole", whole, made.tokenizer), ("cut", made.model, tokenizer)):
            batch = reader(source, text_target=target, return_tensors="pt")
            batch = {key: batch[key] for key in ("input_ids", "attention_mask", "labels")}
            with torch.no_grad():
                logits = model(**batch).logits
            held[name] = [logits[0, at, index] for at, index in enumerate(batch["labels"][0])]
        assert torch.allclose(torch.stack(held["cut"]), torch.stack(held["whole"]), atol=1e-6)
    made.model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pipe = seqgraft.pipeline("text2text-generation", model=str(tmp_path), device=-1)
    assert isinstance(pipe(few[0][0], max_new_tokens=4)[0]["generated_text"], str)


def test_rare_tokens_go(make):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    pairs = [("the cat sat", "the cat")] * 3 + [("the dog", "dog")]
    kept, _ = keep_used(copy.deepcopy(made.model), made.tokenizer, pairs, least=3)
    assert {"the", "cat", "sat"} <= set(kept.get_vocab())
    assert "dog" not in kept.get_vocab()
    with pytest.raises(DataError, match="there are none"):
        keep_used(made.model, made.tokenizer, [])
