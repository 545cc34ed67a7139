"""`pipeline(..., framework=)` and `seqgraft run --framework`: torch's results from the same folder, few programs."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import seqgraft
from seqgraft.errors import ConfigurationError, GenerationError, MissingExtraError
from seqgraft.pipelines import compiled

from . import tiny
from .tiny import TEXTS

MODULES = {"flax": ("jax", "flax"), "tf": ("tensorflow", "keras")}
SETTINGS = {"max_new_tokens": 6, "batch_size": 4}
SEVEN = [*TEXTS, *TEXTS[:2]]
"""A batch of four and one of three."""


@pytest.fixture(scope="module", params=list(MODULES))
def framework(request):
    for module in MODULES[request.param]:
        pytest.importorskip(module)
    return request.param


@pytest.fixture(scope="module")
def pipe(framework, folder):
    return seqgraft.pipeline("summarization", model=folder, framework=framework, device="cpu", **SETTINGS)


def programs(model):
    """How often each search of a model was traced."""
    if compiled.framework_of(model) == "flax":
        return [program._cache_size() for program in model._programs.values()]
    return [program.experimental_get_tracing_count() for program in model.held.programs.values()]


def test_the_texts_of_the_reference_from_one_program(pipe, framework, folder, reference):
    assert pipe.framework == framework
    assert [record["summary_text"] for record in pipe(SEVEN)] == reference(folder, SEVEN, max_new_tokens=6)
    assert programs(pipe.model) == [1]
    again = seqgraft.pipeline("summarization", model=pipe.model, tokenizer=pipe.tokenizer, **SETTINGS)
    assert again.framework == framework
    assert again(SEVEN[1:5]) == pipe(SEVEN)[1:5]
    assert programs(pipe.model) == [1]
    assert "cpu" in str(again.device).lower()
    with pytest.raises(ConfigurationError, match="`framework` must be left out or '"):
        seqgraft.pipeline("summarization", model=pipe.model, tokenizer=pipe.tokenizer, framework="pt")


def test_beams_and_their_ids(framework, two):
    asked = {"model": two, "num_beams": 2, "num_return_sequences": 2, "max_new_tokens": 5, "batch_size": 2}
    ours = seqgraft.pipeline("translation", framework=framework, return_tensors=True, return_text=True, **asked)
    theirs = seqgraft.pipeline("translation", device=-1, return_tensors=True, return_text=True, **asked)
    for records, expected in zip(ours(TEXTS[:2]), theirs(TEXTS[:2]), strict=True):
        assert [one["translation_text"] for one in records] == [one["translation_text"] for one in expected]
        for one, other in zip(records, expected, strict=True):
            ids = one["translation_token_ids"]
            assert type(ids).__module__.partition(".")[0] in ("jaxlib", "tensorflow")
            assert np.asarray(ids).tolist() == other["translation_token_ids"].tolist()


def test_draws_from_a_seed(pipe):
    asked = {"do_sample": True, "top_k": 0, "temperature": 3.0, "batch_size": 1, "min_new_tokens": 5}
    drawn = [pipe(["a model", "a model"], seed=seed, **asked) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][0] != drawn[0][1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"penalty_alpha": 0.6}, "`penalty_alpha` must be .* but is 0.6"),
        ({"num_beams": 2, "num_beam_groups": 2, "diversity_penalty": 0.5}, "`num_beam_groups` must be 1"),
        ({"prompt_lookup_num_tokens": 3}, "`prompt_lookup_num_tokens` must be None"),
        ({"stop_strings": ["."]}, "`stop_strings` must be None"),
        ({"streamer": object()}, "`streamer` must be None"),
        ({"logits_processor": [object()]}, "`logits_processor` must be None"),
    ],
)
def test_what_a_compiled_search_has_not_is_named(pipe, settings, said):
    with pytest.raises(GenerationError, match=said):
        pipe("a model", **settings)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"assistant_model": "drafts"}, "`assistant_model` must be None"),
        ({"device_map": {"": 0}}, "`device_map` must be left out"),
        ({"device": "cuda:99"}, "`device` must be a number"),
        ({"dtype": "int8"}, "`dtype` must be 'auto' or one of float32"),
    ],
)
def test_what_these_frameworks_do_not_take(framework, folder, options, said):
    with pytest.raises(ConfigurationError, match=said):
        seqgraft.pipeline("summarization", model=folder, framework=framework, **options)


def test_options_of_one_framework_alone(pipe):
    option = "jit_compile" if pipe.framework == "flax" else "prng_key"
    with pytest.raises(TypeError, match=f"has no option '{option}'"):
        pipe("a model", **{option: True})


def test_separate_adapters_are_not_forgotten(framework, folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="keeps adapters beside its weights"):
        seqgraft.pipeline("summarization", model=tmp_path, framework=framework)


def test_lengths_of_sources(folder):
    plain = SimpleNamespace(config=seqgraft.AutoConfig.from_pretrained(folder))
    assert [compiled._width(plain, n, None) for n in (1, 32, 33)] == [32, 32, 64]
    assert [compiled._width(plain, n, 40) for n in (1, 32, 33, 40)] == [32, 32, 40, 40]
    blocks = seqgraft.BigBirdConfig(
        vocab_size=9, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, block_size=4
    )
    pair = seqgraft.EncoderDecoderConfig(encoder=blocks, decoder=tiny.bert_config(9))
    assert compiled._width(SimpleNamespace(config=pair), 33, None) == 33


def test_the_longest_row_ends_it():
    rows = np.array([[2, 5, 2, 0, 0], [2, 6, 7, 2, 0]])
    assert compiled._longest(rows, 2) == compiled._longest(rows, [9, 2]) == 4
    assert compiled._longest(rows, 7) == compiled._longest(rows, None) == 5


def test_the_command_line(folder, tmp_path):
    for module in MODULES["flax"]:
        pytest.importorskip(module)
    from seqgraft.cli import app

    def run(*arguments, stdin=""):
        given = ["run", "-t", "summarization", "-m", str(folder), *arguments]
        return CliRunner().invoke(app, given, input=stdin, env={"COLUMNS": "80", "TERM": "dumb"})

    common = ("--max-new-tokens", "6", "--device", "cpu", "--batch-size", "4")
    flax, torch = (run(*common, *more, stdin="\n".join(TEXTS[:4])) for more in (("--framework", "flax"), ()))
    assert flax.exit_code == 0, flax.stderr
    assert flax.stdout == torch.stdout
    for arguments, said in (
        (("--framework", "mx"), "--framework must be one of pt, flax, tf, but is 'mx'"),
        (("--framework", "flax", "--stream"), "--stream must be left out with --framework flax"),
        (("--framework", "tf", "--assistant", "drafts"), "--assistant must be left out with --framework tf"),
    ):
        done = run(*arguments, stdin="a model")
        assert done.exit_code == 2
        assert said in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("name", list(MODULES))
def test_a_missing_extra_is_named(name, folder, monkeypatch):
    room = {"flax": "flax", "tf": "tensorflow"}[name]
    monkeypatch.delitem(sys.modules, f"seqgraft.{room}.model", raising=False)
    monkeypatch.delitem(vars(seqgraft), compiled.CLASSES[name], raising=False)
    for module in MODULES[name]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'seqgraft\[{room}\]'"):
        seqgraft.pipeline("summarization", model=folder, framework=name)


def test_torch_is_not_imported(framework, folder):
    code = (
        f"import sys, seqgraft\npipe = seqgraft.pipeline('summarization', {str(folder)!r}, framework={framework!r})\n"
        "print(pipe.framework, pipe.device, 'torch' in sys.modules)"
    )
    source = Path(seqgraft.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(source), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    said = done.stdout.split()
    assert (said[0], said[-1]) == (framework, "False")
