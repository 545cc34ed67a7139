"""What is prepared for decoding follows the weights, however they change, and serves several threads."""

import mmap
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import seqgraft.torch.prepare as preparing
from seqgraft import EncoderDecoderModel
from seqgraft.errors import GenerationError
from seqgraft.torch import encoding
from seqgraft.torch.cache import EncoderDecoderCache
from seqgraft.torch.encoding import encoded
from seqgraft.torch.glance import _copied, _ends, glance
from seqgraft.torch.prepare import applied, prepare
from seqgraft.torch.residence import Residence
from seqgraft.torch.static_step import Fixed, Shape, _free

from ..families.rows import BY_NAME, VOCABULARY
from .pairs import PAD, reference_pair, source

FIXED: dict[str, Any] = {"max_new_tokens": 9, "bad_words_ids": [[PAD]]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pair")
    reference_pair("bert", "bert").save_pretrained(made)
    return made


def in_place(pair: nn.Module) -> None:
    for parameter in pair.parameters():
        parameter.data.mul_(1.7)


def twice_elsewhere(pair: nn.Module) -> None:
    """Where the first weights were may be where the last ones come to be."""
    for _ in range(2):
        for parameter in pair.parameters():
            parameter.data = parameter.data * 1.3


def turned(pair: nn.Module) -> None:
    """Square weights, at the same place in memory."""
    for parameter in pair.parameters():
        if parameter.dim() == 2 and parameter.shape[0] == parameter.shape[1]:
            parameter.data = parameter.data.t()


def under_no_grad(pair: nn.Module) -> None:
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.mul_(1.7)


def in_inference_mode(pair: nn.Module) -> None:
    with torch.inference_mode():
        for parameter in pair.parameters():
            parameter.data.mul_(1.7)


@pytest.mark.parametrize("change", [in_place, twice_elsewhere, turned, under_no_grad, in_inference_mode])
def test_weights_that_changed_are_prepared_anew(folder: Path, change: Callable[[nn.Module], None]) -> None:
    theirs, ours = reference_pair("bert", "bert"), EncoderDecoderModel.from_pretrained(folder)
    inputs = source("bert")
    before = ours.generate(**inputs, **FIXED)
    change(theirs)
    change(ours)
    after = ours.generate(**inputs, **FIXED)
    assert torch.equal(after, theirs.generate(**inputs, **FIXED))
    assert not torch.equal(after, before)


@pytest.mark.parametrize("name", ["decoder.layers.0", "decoder.layers.1.feed_forward.up", "encoder.layers.0"])
def test_a_module_that_gets_another_forward_is_called(folder: Path, name: str) -> None:
    """As libraries that move weights to a device at each call do."""
    pair = EncoderDecoderModel.from_pretrained(folder)
    before = pair.generate(**source("bert"), **FIXED)
    calls: list[int] = []
    module = pair.get_submodule(name)
    own = module.forward

    def forward(*given: Any, **named: Any) -> Any:
        calls.append(1)
        return own(*given, **named)

    module.forward = forward
    assert torch.equal(pair.generate(**source("bert"), **FIXED), before)
    assert len(calls) == (before.shape[1] - 1 if name.startswith("decoder") else 1)


def test_training_drops_what_was_prepared(folder: Path) -> None:
    pair = EncoderDecoderModel.from_pretrained(folder)
    pair.generate(**source("bert"), **FIXED)
    assert pair.encoder in preparing._kept
    assert pair.decoder in preparing._kept
    pair.eval()
    assert pair.decoder in preparing._kept
    pair.train()
    assert pair.encoder not in preparing._kept
    assert pair.decoder not in preparing._kept


def test_a_model_loaded_in_inference_mode(folder: Path) -> None:
    theirs = reference_pair("bert", "bert").generate(**source("bert"), **FIXED, num_beams=2)
    with torch.inference_mode():
        pair = EncoderDecoderModel.from_pretrained(folder)
        assert torch.equal(pair.generate(**source("bert"), **FIXED, num_beams=2), theirs)


def test_the_glance() -> None:
    weights = [torch.zeros(40, 50), torch.zeros(3, dtype=torch.bfloat16), torch.zeros(0), torch.zeros(4, 6).t()]
    before = glance(weights)
    assert glance(weights) == before
    seen = {before}
    for weight, place in ((weights[0], 0), (weights[0], -1), (weights[1], 2)):
        weight.data.view(-1)[place] = 1.0
        seen.add(glance(weights))
    assert len(seen) == 4


def test_ends_of_weights_elsewhere() -> None:
    """What is copied from a device, by way of tensors, is what is read of memory: the first and last 256 bytes."""
    weights = [torch.randn(40, 50), torch.randn(3).bfloat16(), torch.randn(700).to(torch.float8_e4m3fn)]
    expected = b""
    for weight in weights:
        held = weight.flatten().view(torch.uint8).numpy().tobytes()
        expected += held[:256] + held[-256:]
    assert _copied([end for weight in weights for end in _ends(weight)]) == expected


def test_maps_stay_until_the_last_thread_left(folder: Path) -> None:
    decoder = EncoderDecoderModel.from_pretrained(folder).decoder
    with torch.no_grad():
        held = prepare(decoder)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with applied(held):
            inside.set()
            leave.wait(10)

    module = next(iter(held.maps))
    thread = threading.Thread(target=other)
    with applied(held):
        thread.start()
        assert inside.wait(10)
    assert module.fast is held.maps[module]
    leave.set()
    thread.join()
    assert module.fast is None


def test_two_threads_generate_what_one_does(folder: Path) -> None:
    pair = EncoderDecoderModel.from_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    sources = [torch.randint(4, VOCABULARY, (2, 7), generator=generator) for _ in range(2)]
    settings: list[dict[str, Any]] = [{}, {"num_beams": 3}, {"cache_implementation": "static"}]
    expected = [[pair.generate(ids, **FIXED, **more) for more in settings] for ids in sources]
    wrong: list[Any] = []

    def run(which: int) -> None:
        try:
            for _ in range(12):
                for more, right in zip(settings, expected[which], strict=True):
                    if not torch.equal(pair.generate(sources[which], **FIXED, **more), right):
                        wrong.append((which, more))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(which,)) for which in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


def test_two_generations_never_share_their_buffers() -> None:
    caches = [EncoderDecoderCache(1) for _ in range(2)]
    held: list[Fixed] = []
    for cache in caches:
        cache.layers[0].append(torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 3, 4))
    shape = Shape(2, 1, 16, (0, 0), torch.float32, "")
    one, other = (_free(held, shape, cache) for cache in caches)
    assert one is not other
    caches.pop()
    del cache
    assert _free(held, shape, EncoderDecoderCache(1)) is other


@pytest.mark.parametrize("name", ["bert", "roberta", "layoutlm"])
@torch.no_grad()
def test_inputs_are_cut_with_the_sources(made: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Sources of mixed lengths, each as long as it is; what is said once for all rows is cut for each batch."""
    monkeypatch.setattr(encoding, "_CALL", 0)
    encoder, generator = made.ours(BY_NAME[name], "encoder"), torch.Generator().manual_seed(1)
    ids = torch.randint(4, VOCABULARY, (4, 9), generator=generator)
    mask = (torch.arange(9) < torch.tensor([9, 2, 5, 1])[:, None]).long()
    mixed = torch.randperm(9, generator=generator)[None]
    for positions in (mixed, mixed.expand(4, -1)):
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions + 2}
        expected, found = encoder(**inputs)[0], encoded(encoder.__call__, encoder, **inputs)[0]
        torch.testing.assert_close(found[mask == 1], expected[mask == 1], rtol=1e-4, atol=1e-5)
        assert float((expected - encoder(ids, mask)[0]).abs().max()) > 1e-3


@pytest.mark.parametrize("beams", [1, 3])
def test_sources_of_no_rows_are_refused(folder: Path, beams: int) -> None:
    pair = EncoderDecoderModel.from_pretrained(folder)
    for shape in ((0, 5), (2, 0)):
        ids = torch.zeros(shape, dtype=torch.long)
        with pytest.raises(GenerationError, match="at least one row and one token"):
            pair.generate(ids, attention_mask=torch.ones_like(ids), num_beams=beams, **FIXED)


def test_a_prompts_mask_needs_its_prompt(folder: Path) -> None:
    pair, inputs = EncoderDecoderModel.from_pretrained(folder), source("bert")
    with pytest.raises(GenerationError, match=r"`decoder_attention_mask` must be \[3, 1\], but is \[3, 4\]"):
        pair.generate(**inputs, decoder_attention_mask=torch.ones(3, 4, dtype=torch.long), **FIXED)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are given back on Linux alone")
def test_pages_that_are_let_go_keep_what_was_written(tmp_path: Path) -> None:
    numbers = torch.arange(64 * 1024, dtype=torch.float32)
    file = tmp_path / "weights"
    file.write_bytes(numbers.numpy().tobytes())
    with file.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    weight = torch.frombuffer(mapped, dtype=torch.float32)
    weight[5000:40000] = -1.0
    Residence().let_go(weight)
    numbers[5000:40000] = -1.0
    assert torch.equal(weight, numbers)
    weight[100:2000] = -2.0
    Residence().let_go(weight)
    numbers[100:2000] = -2.0
    assert torch.equal(weight, numbers)
    assert file.read_bytes() == torch.arange(64 * 1024, dtype=torch.float32).numpy().tobytes()
