"""What the runs of `benchmarks/quality` are made of; the runs themselves take hours and are started by hand."""

import gzip
import json
import subprocess

import pytest

from benchmarks.quality import multi30k, picture, running, translation, warm_start

ENGLISH = ["Two dogs, running.", "A man's \u2028hat", "A dog is running", "Two men run."]
GERMAN = ["Zwei Hunde, rennend.", "Der Hut eines Mannes", "Ein Hund läuft", "Zwei Männer laufen."]


@pytest.fixture
def data(tmp_path):
    for part in ("train", "val"):
        for language, lines in (("en", ENGLISH), ("de", GERMAN)):
            with gzip.open(tmp_path / f"{part}.{language}.gz", "wt", encoding="utf-8") as file:
                file.write("".join(line + "\n" for line in lines))
    return tmp_path


def test_pairs_of_a_folder(data, tmp_path):
    found = multi30k.pairs(data, "train")
    assert found == list(zip(ENGLISH, GERMAN, strict=True))  # a line ends where a line ends, and nowhere else
    assert multi30k.pairs(data, "val", lowercase=True)[2] == ("a dog is running", "ein hund läuft")
    multi30k.write(tmp_path / "pairs.jsonl", found)
    from seqgraft.training.pairs import read_pairs

    assert [(pair.source, pair.target) for pair in read_pairs(tmp_path / "pairs.jsonl")] == found
    with gzip.open(data / "train.de.gz", "at") as file:
        file.write("Noch eine\n")
    with pytest.raises(ValueError, match=r"as many lines in English as in German, but has \[4, 5\]"):
        multi30k.pairs(data, "train")


def test_a_learned_vocabulary(tmp_path):
    """Its merges are those of the library whose format it is; texts come back, each word with its own pieces."""
    import transformers

    texts = [*ENGLISH, *GERMAN] * 3
    opened = multi30k.save(multi30k.vocabulary(texts, 60), tmp_path)
    assert len(opened) <= 60
    other = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in (ENGLISH[0], GERMAN[3], "Hund,Mann."):
        ids = opened(text)["input_ids"]
        assert ids == other(text)["input_ids"]
        assert ids[-1] == opened.eos_token_id == multi30k.END
        assert opened.decode(ids, skip_special_tokens=True) == text
    assert (opened.pad_token_id, opened.bos_token_id) == (multi30k.PAD, multi30k.START)
    lower = multi30k.save(multi30k.vocabulary(texts, 60, lowercase=True), tmp_path / "lower")
    assert lower.decode(lower("EIN Hund")["input_ids"], skip_special_tokens=True) == "ein hund"


def test_the_untrained_model_is_the_papers(tmp_path):
    """Sizes of the paper's Transformer-tiny, one table for all; the reference opens it and has no more parameters."""
    import transformers

    tokenizer = multi30k.save(multi30k.vocabulary([*ENGLISH, *GERMAN], 50), tmp_path / "tokenizer")
    made = translation.fresh(tmp_path / "fresh", tokenizer, "m2m_100", seed=0)
    theirs = transformers.M2M100ForConditionalGeneration.from_pretrained(tmp_path / "fresh")
    assert made.num_parameters() == sum(p.numel() for p in theirs.parameters())
    attention, inner, norm = 4 * (128 * 128 + 128), 2 * 128 * 256 + 256 + 128, 2 * 128
    layers = 4 * (attention + inner + 2 * norm) + 4 * (2 * attention + inner + 3 * norm)
    assert made.num_parameters() == layers + 2 * norm + len(tokenizer) * 128
    scaled = made.encoder.embed.weight.detach().std() * made.encoder.spec.embed_scale
    assert float(scaled) == pytest.approx(1.0, rel=0.05)


def test_bleu_of_both_settings():
    sacrebleu = pytest.importorskip("sacrebleu")
    pytest.importorskip("sacremoses")
    made, references = ["Ein Mann läuft, sagt er zu Hause."], ["Ein Mann läuft, sagt sie (zu Hause)."]
    assert translation.moses(["ein mann läuft, sagt er."]) == ["ein mann läuft , sagt er ."]
    found = translation.bleu([made[0].upper()], references)
    plain = sacrebleu.corpus_bleu([made[0].lower()], [[references[0].lower()]]).score
    split = [["ein mann läuft , sagt er zu hause ."], [["ein mann läuft , sagt sie ( zu hause ) ."]]]
    tokenised = sacrebleu.corpus_bleu(*split, tokenize="none", force=True).score
    assert list(found.values()) == pytest.approx([tokenised, plain])


def test_a_command_is_measured(tmp_path):
    tokenizer = multi30k.save(multi30k.vocabulary(ENGLISH, 40), tmp_path / "tokenizer")
    model = translation.fresh(tmp_path / "fresh", tokenizer, "marian", seed=0)
    ran = running.seqgraft("inspect", tmp_path / "fresh")
    assert ran.command == "seqgraft inspect fresh"
    assert str(model.num_parameters()) in json.dumps(ran.found)
    assert 0.0005 < ran.cpu_minutes < 2
    with pytest.raises(subprocess.CalledProcessError):
        running.seqgraft("inspect", tmp_path / "nothing")


def test_a_command_that_was_interrupted_has_said_something(tmp_path, monkeypatch):
    program = tmp_path / "python"
    monkeypatch.setattr(running.sys, "executable", str(program))
    for script, found in (("echo '[1]'; exit 130", ([1], True)), ("echo '[1]'", ([1], False))):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        ran = running.seqgraft("train")
        assert (ran.found, ran.interrupted) == found
    for script in ("exit 130", "echo '[1]'; exit 1"):
        program.write_text(f"#!/bin/sh\n{script}\n")
        with pytest.raises(subprocess.CalledProcessError):
            running.seqgraft("train")


def test_figures_are_kept_and_drawn(tmp_path):
    assert running.flags({"num-beams": 5, "decay": "linear"}) == ["--num-beams", "5", "--decay", "linear"]
    assert running.thin(list(range(10)), 5) == [1, 3, 5, 7, 9]
    assert running.thin([1, 2], 5) == [1, 2]
    arms = {name: {"validation": [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.0}]} for name in warm_start.ARMS}
    running.record(tmp_path / "results" / "x.json", {"ä": {"arms": arms}})
    found = json.loads((tmp_path / "results" / "x.json").read_text(encoding="utf-8"))
    picture.draw(found, tmp_path / "quality.png")
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")


def test_the_fresh_decoder_sees_the_encoder(tmp_path):
    """A pair of it and an encoder starts with all of the decoder's weights, cross-attention among them."""
    import seqgraft

    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2}
    warm_start.fresh_decoder(tmp_path, GERMAN, pieces=40, sizes=sizes)
    encoder = seqgraft.BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    half = seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(
        encoder_model=seqgraft.BertModel(encoder), decoder_pretrained_model_name_or_path=tmp_path
    )
    assert half.decoder.spec.layers[0].cross_attention is not None
    stored = dict(seqgraft.AutoModelForCausalLM.from_pretrained(tmp_path).named_parameters())
    assert set(stored) == {name for name, _ in half.decoder.named_parameters()}
    assert all(value.equal(stored[name]) for name, value in half.decoder.named_parameters())
    assert half.decoder.get_output_embeddings().weight is half.decoder.embed.weight
    half.config.decoder_start_token_id, half.config.pad_token_id = multi30k.START, multi30k.PAD
    half.config.eos_token_id = multi30k.END
    report = half.check(None)
    assert report.passed, report.failures
