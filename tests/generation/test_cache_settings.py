"""`cache_implementation` and `cache_config`: what is refused, and in which words."""

import warnings
from typing import Any

import pytest
import transformers
from transformers.generation.configuration_utils import ALL_CACHE_IMPLEMENTATIONS

from seqgraft.errors import GenerationError
from seqgraft.generation import GenerationConfig, QuantizedCacheConfig
from seqgraft.generation.caching import KNOWN, OFFERED
from seqgraft.generation.resolve import settings_of


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"nbits": 2}, "`nbits` of `cache_config` must be 4 or 8, but is 2"),
        ({"nbits": True}, "`nbits` of `cache_config` must be 4 or 8, but is True"),
        ({"axis_key": 1}, "`axis_key` of `cache_config` must be 0, but is 1"),
        ({"axis_value": -1}, "`axis_value` of `cache_config` must be 0, but is -1"),
        ({"backend": "fp8"}, "`backend` of `cache_config` must be None or 'quanto' or 'hqq', but is 'fp8'"),
        ({"q_group_size": 0}, "`q_group_size` of `cache_config` must be an integer of at least 1, but is 0"),
        ({"residual_length": -1}, "`residual_length` of `cache_config` must be an integer of at least 0, but is -1"),
        ({"residual_length": 2.5}, "`residual_length` of `cache_config` must be an integer of at least 0, but is 2.5"),
        ({"cross_attention": 1}, "`cross_attention` of `cache_config` must be True or False, but is 1"),
        ({"bits": 8}, "`cache_config` may have backend, nbits, .*, but has bits"),
        ([8], r"`cache_config` must be a mapping or a QuantizedCacheConfig, but is \[8\]"),
    ],
)
def test_refused(fields: Any, said: str) -> None:
    with pytest.raises(GenerationError, match=said):
        GenerationConfig(cache_implementation="quantized", cache_config=fields)
    if isinstance(fields, dict) and "bits" not in fields:
        with pytest.raises(GenerationError, match=said):
            QuantizedCacheConfig(**fields)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(GenerationError, match=r"`nbits`.*`residual_length`"):
        QuantizedCacheConfig(nbits=3, residual_length=-1)


def test_names_and_defaults_are_the_references_but_for_the_bits() -> None:
    theirs = transformers.cache_utils.QuantizedLayer.__init__
    names = theirs.__code__.co_varnames[1 : theirs.__code__.co_argcount]
    assert theirs.__defaults__ is not None
    ours = QuantizedCacheConfig().to_dict()
    assert {name: ours[name] for name in names} == {**dict(zip(names, theirs.__defaults__, strict=True)), "nbits": 8}


def test_implementations() -> None:
    own = GenerationConfig()
    assert set(KNOWN) == {*ALL_CACHE_IMPLEMENTATIONS, "paged"}
    offered = " or ".join(map(repr, OFFERED))
    with pytest.raises(GenerationError, match=f"`cache_implementation` must be {offered}, but is 'fast'"):
        GenerationConfig(cache_implementation="fast")
    for name in KNOWN:
        config = GenerationConfig(cache_implementation=name)  # a file may say it
        if name in (*OFFERED, "hybrid"):
            assert settings_of({}, config, own).cache_implementation == name
            continue
        said = f"`cache_implementation` must be {offered} in this version, but is '{name}'"
        with pytest.raises(GenerationError, match=said):
            settings_of({}, config, own)


def test_a_configuration_without_effect_is_told() -> None:
    with pytest.warns(UserWarning, match="`cache_config` is .*, but has no effect unless `cache_implementation` is "):
        GenerationConfig(cache_config={"nbits": 8})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GenerationConfig(cache_implementation="quantized", cache_config={"nbits": 8})


@pytest.mark.parametrize("kind", ["quantized", "static"])
def test_a_cache_that_is_off_has_no_kind(kind: str) -> None:
    said = f"`cache_implementation` is '{kind}', but has no effect unless `use_cache` is True"
    with pytest.warns(UserWarning, match=said):
        GenerationConfig(use_cache=False, cache_implementation=kind)
