"""Settings of how a step runs: fixed shapes, graphs, the compiler."""

import pytest
import torch
import transformers

from seqgraft.errors import GenerationError
from seqgraft.generation import GenerationConfig
from seqgraft.generation.compiling import FIELDS, compile_arguments
from seqgraft.torch import graphs
from seqgraft.torch.graphs import Plan, plan_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
RECORDER = object()


@pytest.fixture(autouse=True)
def one_recorder(monkeypatch):
    monkeypatch.setattr(graphs, "recorder", lambda device: RECORDER if device.type == "cuda" else None)


@pytest.mark.parametrize(
    ("settings", "on_cpu", "on_cuda"),
    [
        ({}, None, Plan(9, RECORDER)),
        ({"disable_compile": True}, None, None),
        ({"cache_implementation": "dynamic"}, None, None),
        ({"cache_implementation": "quantized"}, None, None),
        ({"cache_implementation": "static"}, Plan(9), Plan(9, RECORDER)),
        ({"cache_implementation": "static", "disable_compile": True}, Plan(9), Plan(9)),
        ({"compile_config": {}, "disable_compile": True}, None, None),
        (
            {"compile_config": {"fullgraph": True}},
            Plan(9, None, {"dynamic": False, "fullgraph": True, "mode": "default"}),
            Plan(9, RECORDER, {"dynamic": False, "fullgraph": True, "mode": "default"}),
        ),
    ],
)
def test_how_steps_run(settings, on_cpu, on_cuda):
    config = GenerationConfig(**settings)
    assert plan_of(config, 9, CPU) == on_cpu
    assert plan_of(config, 9, CUDA) == on_cuda


def test_the_references_configuration(tmp_path):
    theirs = transformers.generation.CompileConfig()
    assert set(theirs.to_dict()) == set(FIELDS)
    ours = GenerationConfig(compile_config=theirs)
    expected = {"fullgraph": False, "dynamic": False, "backend": "inductor", "mode": "default"}
    assert compile_arguments(ours) == expected  # recording is done here, not by the compiler
    ours.save_pretrained(tmp_path)
    assert compile_arguments(GenerationConfig.from_pretrained(tmp_path)) == expected
    options = {"options": {"max_autotune": True}, "dynamic": None}
    assert compile_arguments(GenerationConfig(compile_config=options)) == {
        "dynamic": False,
        "options": {"max_autotune": True},
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"compile_config": 7}, "`compile_config` must map arguments of torch.compile, or have to_dict"),
        ({"compile_config": {"speed": 1}}, "`compile_config` may have fullgraph, .*, but has speed"),
        ({"disable_compile": "no"}, "`disable_compile` must be True or False, but is 'no'"),
        (
            {"compile_config": {}, "cache_implementation": "quantized"},
            "`compile_config` needs `cache_implementation` to be None or 'static'.*but it is 'quantized'",
        ),
    ],
)
def test_refused(settings, said):
    with pytest.raises(GenerationError, match=said):
        GenerationConfig(**settings)
