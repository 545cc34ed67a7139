"""Loading: dtypes, subfolders, the hub's names and its cache, what is said and what is raised."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import seqgraft
from seqgraft import AutoConfig, EncoderDecoderConfig, EncoderDecoderModel
from seqgraft.errors import FolderError

from ..faults import tiny

COMMITS = {"main": "a" * 40, "v1.0": "b" * 40}


@pytest.fixture
def cache(tmp_path):
    """A hub cache that holds two revisions of one repository, as huggingface_hub lays it out."""
    models = {}
    repository = tmp_path / "cache" / "models--someone--my-pair"
    for seed, (revision, commit) in enumerate(COMMITS.items()):
        torch.manual_seed(seed)
        models[revision] = tiny.pair()
        models[revision].save_pretrained(tmp_path / "made")
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (repository / "blobs").mkdir(exist_ok=True)
        for file in (tmp_path / "made").iterdir():
            blob = repository / "blobs" / f"{commit}{file.name}"
            file.rename(blob)
            (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
    return tmp_path / "cache", models


def _same(one, two):
    return all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("load", [EncoderDecoderModel, seqgraft.AutoModelForSeq2SeqLM, seqgraft.AutoModelForCausalLM])
def test_from_the_hubs_cache(load, cache):
    place, models = cache
    for arguments, expected in (
        ({}, "main"),
        ({"revision": "main"}, "main"),
        ({"revision": "v1.0"}, "v1.0"),
        ({"revision": COMMITS["v1.0"]}, "v1.0"),
        ({"local_files_only": True}, "main"),
    ):
        assert _same(load.from_pretrained("someone/my-pair", cache_dir=place, **arguments), models[expected])
    assert EncoderDecoderConfig.from_pretrained("someone/my-pair", cache_dir=place).name_or_path == "someone/my-pair"
    with pytest.raises(OSError, match="'someone/my-pair'"):
        load.from_pretrained("someone/my-pair", cache_dir=place, revision="v2.0")


def test_composing_from_the_hubs_cache(cache, tmp_path, written):
    place, _ = cache
    repository = place / "models--someone--bert"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c" * 40)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / ("c" * 40)).symlink_to(written["bert"])
    for arguments in ({"cache_dir": place}, {"encoder_cache_dir": place, "decoder_cache_dir": place}):
        model = EncoderDecoderModel.from_encoder_decoder_pretrained("someone/bert", "someone/bert", **arguments)
        local = EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["bert"])
        assert _same(model.encoder, local.encoder)


@pytest.mark.parametrize("name", ["google-bert/bert-base-uncased", "gpt2"])
def test_offline_without_a_cache(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for load in (
        lambda: EncoderDecoderModel.from_pretrained(name, cache_dir=tmp_path),
        lambda: EncoderDecoderModel.from_encoder_decoder_pretrained(name, name, cache_dir=tmp_path),
        lambda: AutoConfig.from_pretrained(name, cache_dir=tmp_path, local_files_only=True),
        lambda: seqgraft.AutoTokenizer.from_pretrained(name, cache_dir=tmp_path),
        lambda: seqgraft.BertModel.from_pretrained(name, cache_dir=tmp_path),
    ):
        with pytest.raises(
            OSError, match=rf"'{name}' must be a folder, or a hub repository that is reachable or cached"
        ):
            load()


@pytest.mark.parametrize("name", ["no/such/folder", "./missing", "/nowhere/at/all", "a b", "~/nothing-here"])
def test_what_is_no_folder_and_no_name(name):
    with pytest.raises(OSError, match=r"no folder here|neither a folder") as caught:
        EncoderDecoderModel.from_pretrained(name)
    assert name in str(caught.value)


def test_offline_in_a_fresh_process(tmp_path):
    """The environment's switch is honoured, whatever the cache: one clear line at the end, no network tried."""
    code = "import seqgraft; seqgraft.AutoModel.from_pretrained('google-bert/bert-base-uncased')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("seqgraft.errors.FolderError: 'google-bert/bert-base-uncased' must be a folder")


def test_subfolder(tmp_path):
    model = tiny.pair()
    model.save_pretrained(tmp_path / "deep" / "down")
    assert _same(EncoderDecoderModel.from_pretrained(tmp_path, subfolder="deep/down"), model)
    assert _same(EncoderDecoderModel.from_pretrained(tmp_path / "deep", subfolder="down"), model)
    model.encoder.save_pretrained(tmp_path / "parts" / "encoder")
    model.decoder.save_pretrained(tmp_path / "parts" / "decoder")
    again = EncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "parts", tmp_path / "parts", encoder_subfolder="encoder", decoder_subfolder="decoder"
    )
    assert _same(again, model)
    with pytest.raises(OSError, match="must be named by a path inside it"):
        EncoderDecoderModel.from_pretrained(tmp_path, subfolder="../elsewhere")
    with pytest.raises(OSError, match=r"must hold .*config.json"):
        EncoderDecoderModel.from_pretrained(tmp_path, subfolder="nowhere")


def test_dtype_defaults_to_the_checkpoints(tmp_path):
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        tiny.pair().to(dtype).save_pretrained(tmp_path)
        assert EncoderDecoderModel.from_pretrained(tmp_path).dtype == dtype
        assert EncoderDecoderModel.from_pretrained(tmp_path, dtype="auto").dtype == dtype
        assert json.loads((tmp_path / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
        assert EncoderDecoderModel.from_pretrained(tmp_path, dtype=torch.float64).dtype == torch.float64


def test_paths_of_every_kind(tmp_path, monkeypatch):
    tiny.pair().save_pretrained(tmp_path / "pair")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in ("pair", "./pair", "pair/", tmp_path / "pair", Path("pair"), "~/pair"):
        assert EncoderDecoderModel.from_pretrained(source).config.name_or_path == os.fspath(source)


def test_what_is_said_when_loading(written, tmp_path, caplog, capfd, recwarn):
    """A composed pair says in one line a half what is new; a saved one says nothing."""
    caplog.set_level(logging.INFO)
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["gpt2"])
    [message] = [r.getMessage() for r in caplog.records if r.name.startswith("seqgraft")]
    assert message.startswith(f"The decoder of {written['gpt2']}: the cross-attention is new (")
    assert message.endswith("and must be trained.")
    caplog.clear()
    model.save_pretrained(tmp_path)
    EncoderDecoderModel.from_pretrained(tmp_path)
    seqgraft.AutoConfig.from_pretrained(tmp_path)
    assert not [r for r in caplog.records if r.name.startswith("seqgraft")]
    assert not recwarn.list
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_new_weights_are_counted(written, caplog):
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["gpt2"])
    count = sum(p.numel() for n, p in model.decoder.named_parameters() if "cross_attention" in n)
    assert f"({count:,} parameters)" in caplog.text


def test_unknown_fields_are_named_once(tmp_path):
    tiny.pair().save_pretrained(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    said["encoder"]["strange_field"] = {"a": 1}
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.warns(UserWarning, match="BertConfig does not know the fields strange_field: they are kept") as caught:
        model = EncoderDecoderModel.from_pretrained(tmp_path)
    assert len(caught) == 1
    model.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["encoder"]["strange_field"] == {"a": 1}


ERRORS = [
    ({"dtype": "int8"}, "`dtype` must be a floating type of torch or its name, but is 'int8'"),
    ({"dtype": "nonsense"}, "`dtype` must be a floating type of torch or its name, but is 'nonsense'"),
    ({"attn_implementation": "flash"}, "`attn_implementation` must be 'sdpa' or 'eager', but is 'flash'"),
    (
        {"device_map": {"encoder": 0, "decoder": 1}},
        "`device_map` must put the whole model on one device, but splits it",
    ),
    ({"trust_remote_code": True}, "`trust_remote_code` must be left out or False"),
    ({"from_tf": True}, "must hold weights as model.safetensors, tf_model.h5"),
    ({"output_loading_info": True}, "`output_loading_info` must be left out or False"),
    ({"device_map": "nonsense"}, "`device_map` must be .*but is 'nonsense'"),
    ({"num_beams": 0}, "`num_beams` must be an integer of at least 1, but is 0"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=str)
def test_errors_of_arguments(arguments, message, written, tmp_path):
    tiny.pair().save_pretrained(tmp_path)
    loads = [
        lambda: EncoderDecoderModel.from_pretrained(tmp_path, **arguments),
        lambda: EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["gpt2"], **arguments),
        lambda: seqgraft.AutoModelForCausalLM.from_pretrained(tmp_path, **arguments),
    ]
    if "output_loading_info" in arguments:
        loads.pop(1)
    if "num_beams" not in arguments:
        loads.append(lambda: seqgraft.BertModel.from_pretrained(written["bert"], **arguments))
    for load in loads:
        with pytest.raises((ValueError, FolderError), match=message) as caught:
            load()
        assert "\n" not in str(caught.value)
        assert "/src/" not in str(caught.value)


CONSTRUCTOR = [
    (lambda w: EncoderDecoderModel(), "A pair needs `config`, or both `encoder` and `decoder`"),
    (
        lambda w: EncoderDecoderModel(tiny.config("bert")),
        "`config` must be an EncoderDecoderConfig, but is a BertConfig",
    ),
    (lambda w: EncoderDecoderModel({"encoder": {}}), "`config` must be an EncoderDecoderConfig, but is a dict"),
    (
        lambda w: EncoderDecoderModel.from_encoder_decoder_pretrained(w["bert"]),
        "Exactly one of `decoder_pretrained_model_name_or_path` and `decoder_model` must be given, but neither",
    ),
    (
        lambda w: EncoderDecoderModel.from_encoder_decoder_pretrained(
            w["bert"], w["bert"], encoder_model=seqgraft.BertModel(tiny.config("bert"))
        ),
        "Exactly one of `encoder_pretrained_model_name_or_path` and `encoder_model` must be given, but both",
    ),
    (
        lambda w: EncoderDecoderModel.from_encoder_decoder_pretrained(w["bert"], w["bert"], config=tiny.config("bert")),
        "`config` must be an EncoderDecoderConfig, but is a BertConfig",
    ),
    (
        lambda w: EncoderDecoderModel.from_encoder_decoder_pretrained(
            w["bert"], w["gpt2"], decoder_graft={"gate": None}
        ),
        "`decoder_graft` may only say `init` for 'gpt2', whose published design has cross-attention",
    ),
    (
        lambda w: EncoderDecoderModel.from_encoder_decoder_pretrained(
            w["bert"], w["llama"], decoder_graft={"gat": None}
        ),
        "A graft must be described by how, every, layers, gate, init, but is described by gat",
    ),
    (
        lambda w: EncoderDecoderModel.from_encoder_decoder_pretrained(
            w["bert"], w["llama"], decoder_graft={"every": 9}
        ),
        r"`every` of a graft must be at most the number of layers \(2\), but is 9",
    ),
]


@pytest.mark.parametrize(("make", "message"), CONSTRUCTOR)
def test_errors_of_constructors(make, message, written):
    with pytest.raises(ValueError, match=message) as caught:
        make(written)
    assert "\n" not in str(caught.value)


def test_the_wrong_family_is_one_error(written, tmp_path):
    with pytest.raises(ValueError, match="'bert'"):
        seqgraft.GPT2LMHeadModel.from_pretrained(written["bert"])
    with pytest.raises(ValueError, match="do not fit the model") as caught:
        seqgraft.GPT2LMHeadModel.from_pretrained(written["bert"], config=tiny.config("gpt2"))
    assert "None of the model's tensors is there" in str(caught.value)


def test_everything_that_is_wrong_with_a_folder_at_once(tmp_path):
    from safetensors.torch import load_file, save_file

    tiny.pair("bert", "bert", encoder__hidden_size=24).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["encoder.encoder.layer.0.output.dense.weight"]
    del tensors["enc_to_dec_proj.bias"]
    tensors["decoder.bert.embeddings.word_embeddings.weight"] = torch.zeros(3, 3)
    tensors["decoder.bert.encoder.layer.7.output.dense.bias"] = torch.zeros(16)
    tensors["stranger"] = torch.zeros(1)
    tensors["decoder.cls.predictions.bias"] = torch.zeros(tiny.VOCAB, dtype=torch.int64)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="do not fit the model") as caught:
        EncoderDecoderModel.from_pretrained(tmp_path)
    for part in (
        "layers.0.feed_forward.down.weight",
        "enc_to_dec_proj.bias",
        "must be [40, 16], but is [3, 3]",
        "decoder.bert.encoder.layer.7.output.dense.bias",
        "stranger",
        "I64",
    ):
        assert part in str(caught.value)


def test_a_folder_without_weights(tmp_path):
    tiny.pair_config().save_pretrained(tmp_path)
    with pytest.raises(OSError, match=r"model.safetensors") as caught:
        EncoderDecoderModel.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)
