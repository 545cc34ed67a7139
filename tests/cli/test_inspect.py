"""`seqgraft inspect`."""

import json
import shutil

import pytest
from safetensors.numpy import load_file, save_file

import seqgraft as library

from ..pipelines.tiny import LONGEST


def _rows(text):
    """first words -> numbers, of the table of parameters"""
    rows = {}
    for line in text.splitlines():
        words = line.split()
        numbers = [word for word in words if word == "-" or word.replace(",", "").lstrip("-").isdigit()]
        rows.setdefault(" ".join(words[: len(words) - len(numbers)]), numbers)
    return rows


def test_pair(seqgraft, folder):
    done = seqgraft("inspect", folder)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    model = library.EncoderDecoderModel.from_pretrained(folder)
    rows = _rows(done.stdout)
    assert rows["whole model"] == [f"{model.num_parameters():,}"]
    halves = (model.encoder.num_parameters(), model.decoder.num_parameters())
    assert rows["sum"] == [f"{count:,}" for count in halves]
    cross = sum(p.numel() for n, p in model.decoder.named_parameters() if "cross_attention" in n)
    assert rows["cross-attention"] == ["-", f"{cross:,}"]
    assert rows["longest text"] == [str(LONGEST)] * 2
    assert "start 2, pad 0, eos 3" in done.stdout
    assert "tied to the embeddings" in done.stdout
    assert "BertTokenizer" in done.stdout
    assert "model.safetensors" in done.stdout
    assert max(map(len, done.stdout.replace(str(folder), "").splitlines())) <= 80


def test_pair_as_json(seqgraft, two):
    report = json.loads(seqgraft("inspect", two, "--json").stdout)
    model = library.EncoderDecoderModel.from_pretrained(two)
    assert report["kind"] == "pair"
    assert report["total"] == model.num_parameters()
    assert (report["encoder"]["family"], report["decoder"]["family"]) == ("bert", "gpt2")
    assert report["decoder"]["width"] == 12
    if model.enc_to_dec_proj is None:
        assert report["bridge"] is None
    else:
        assert report["bridge"]["parameters"] == sum(p.numel() for p in model.enc_to_dec_proj.parameters())
    assert [one["side"] for one in report["tokenizers"]] == ["source", "target"]
    assert report["tokenizers"][1]["special"]["eos"] == 256
    assert report["special_ids"]["decoder_start_token_id"] == 256
    assert report["dtypes"].keys() == {"F32"}
    assert report["files"]["model.safetensors"] == (two / "model.safetensors").stat().st_size
    assert "target_tokenizer/tokenizer.json" in report["files"]
    assert report["problems"] == []


def test_a_tied_pair_counts_once(seqgraft, bert, tmp_path):
    model = library.EncoderDecoderModel.from_encoder_decoder_pretrained(bert, bert, tie_encoder_decoder=True)
    model.save_pretrained(tmp_path)
    report = json.loads(seqgraft("inspect", tmp_path, "--json").stdout)
    assert report["total"] == model.num_parameters()
    assert report["ties"]["encoder and decoder"]
    rows = _rows(seqgraft("inspect", tmp_path).stdout)
    assert rows["shared by both"] == [f"-{model.encoder.num_parameters():,}"]


def test_plain_model(seqgraft, bert):
    report = json.loads(seqgraft("inspect", bert, "--json").stdout)
    pair = library.EncoderDecoderModel.from_encoder_decoder_pretrained(bert, bert)
    assert report["kind"] == "model"
    assert report["as_encoder"]["total"] == pair.encoder.num_parameters()
    assert report["as_decoder"]["total"] == pair.decoder.num_parameters()
    cross = sum(p.numel() for n, p in pair.decoder.named_parameters() if "cross_attention" in n)
    assert report["as_decoder"]["new"] == {"cross-attention": cross}  # its head is in the file
    assert report["as_decoder"]["new_tensors"][0] == "layers.{0..1}.cross_attention.query.weight"
    done = seqgraft("inspect", bert)
    assert _rows(done.stdout)["cross-attention"] == ["-", f"{cross:,}", f"{cross:,}"]


def test_a_body_without_a_head(seqgraft, bert, tmp_path):
    library.BertModel.from_pretrained(bert).save_pretrained(tmp_path)
    report = json.loads(seqgraft("inspect", tmp_path, "--json").stdout)
    assert set(report["as_decoder"]["new"]) == {"cross-attention", "head"}
    assert report["tokenizers"] == []


def test_two_models(seqgraft, bert, gpt2):
    report = json.loads(seqgraft("inspect", bert, gpt2, "--json").stdout)
    pair = library.EncoderDecoderModel.from_encoder_decoder_pretrained(bert, gpt2)
    assert report["total"] == pair.num_parameters()
    assert report["new_total"] == sum(report["new"].values())
    bridge = 0 if pair.enc_to_dec_proj is None else sum(p.numel() for p in pair.enc_to_dec_proj.parameters())
    assert report["new"].get("bridge", 0) == bridge
    done = seqgraft("inspect", bert, gpt2)
    assert done.exit_code == 0
    assert _rows(done.stdout)["whole model"] == [f"{pair.num_parameters():,}"]


@pytest.mark.parametrize("what", ["missing", "unexpected", "shape", "truncated"])
def test_a_folder_that_does_not_load(seqgraft, folder, tmp_path, what):
    place = tmp_path / "pair"
    shutil.copytree(folder, place)
    file = place / "model.safetensors"
    tensors = load_file(file)
    name = "encoder.embeddings.word_embeddings.weight"
    if what == "missing":
        del tensors[name]
    elif what == "unexpected":
        tensors["encoder.nonsense"] = tensors[name]
    elif what == "shape":
        tensors[name] = tensors[name][:-1]
    save_file(tensors, file)
    if what == "truncated":
        file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(library.errors.CheckpointError) as raised:
        library.EncoderDecoderModel.from_pretrained(place)
    done = seqgraft("inspect", place)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.removeprefix("Error: ").strip() == str(raised.value)
    if what != "truncated":
        report = json.loads(seqgraft("inspect", place, "--json").stdout)
        assert report["problems"]


def test_which_library_multiplies(seqgraft, folder, monkeypatch):
    from seqgraft.torch import product

    monkeypatch.delenv("SEQGRAFT_PRODUCT", raising=False)
    product.library.cache_clear()
    report = json.loads(seqgraft("inspect", folder, "--json").stdout)
    assert report["products"] == product.library()
    for said, words in (("torch", "torch's own library"), ("onednn", "oneDNN, weights packed")):
        monkeypatch.setenv("SEQGRAFT_PRODUCT", said)
        product.library.cache_clear()
        assert words in seqgraft("inspect", folder).stdout
        assert json.loads(seqgraft("inspect", folder, "--json").stdout)["products"] == product.library() == said
    monkeypatch.setenv("SEQGRAFT_PRODUCT", "mkl")
    product.library.cache_clear()
    assert "must be 'onednn' or 'torch', but is 'mkl'" in seqgraft("inspect", folder).stderr
    monkeypatch.delenv("SEQGRAFT_PRODUCT")
    product.library.cache_clear()


def test_no_folder(seqgraft, tmp_path):
    done = seqgraft("inspect", tmp_path / "nowhere")
    assert done.exit_code == 1
    assert "nowhere" in done.stderr


def test_no_framework_is_imported(shell, folder, bert):
    code = (
        "import sys\n"
        "from seqgraft.cli import app\n"
        f"for arguments in (['inspect', {str(folder)!r}], ['inspect', {str(bert)!r}]):\n"
        "    app(arguments, standalone_mode=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = shell(code=code)
    assert done.returncode == 0, done.stderr
