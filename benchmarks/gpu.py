"""Tokens per second on a GPU, in turns with `transformers` as it comes and with its compiled static cache.

One command on a machine that has a GPU, `transformers` and this folder: `python -m benchmarks.gpu --json gpu.json`.
It first checks that recorded steps choose the tokens that a CPU chooses; then pairs of published sizes with random
weights generate in bf16 from the same folder. The file is written anew after every line, so that a run that is cut
short leaves what it measured. `--tiny --device cpu` runs all of it in miniature, which says nothing about speed.
"""

import argparse
import gc
import json
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import seqgraft
from benchmarks import cost
from benchmarks.harness import OURS, Line, machine, race, report
from benchmarks.pairs import PAD, START, reference, sources
from benchmarks.peers import alike, same_tokens

SIZES: dict[str, dict[str, int]] = {
    "BERT-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "BERT-large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "T5-large": {"d_model": 1024, "d_kv": 64, "d_ff": 4096, "num_layers": 24, "num_heads": 16},
}
TINY = {
    "BERT-base": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48},
    "BERT-large": {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64},
    "T5-large": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
}
PLAIN, EAGER, COMPILED = f"{OURS}, step by step", "transformers", "transformers, compiled"
Program = Callable[[Tensor, int, int], Tensor]
"""(ids, new tokens, beams) -> generated ids [batch, new] on the CPU, once the device is done."""


def folder(size: str, sizes: dict[str, dict[str, int]], vocabulary: int | None = None) -> Path:
    """A saved pair of this size; its weights deviate more than fresh ones, so that choices are clear."""
    torch.manual_seed(0)
    place = Path(tempfile.mkdtemp(prefix="seqgraft-benchmark-")) / size
    more = {} if vocabulary is None else {"vocab_size": vocabulary}
    if size.startswith("T5"):
        library = reference()
        config = library.T5Config(
            **sizes[size], **more, decoder_start_token_id=PAD, pad_token_id=PAD, eos_token_id=None
        )
        library.T5ForConditionalGeneration(config).save_pretrained(place)
        return place
    half = seqgraft.BertConfig(**sizes[size], **more, initializer_range=0.05)
    pair = seqgraft.EncoderDecoderConfig(encoder=half, decoder=half, decoder_start_token_id=START, pad_token_id=PAD)
    seqgraft.EncoderDecoderModel(pair).save_pretrained(place)
    return place


def settled(device: torch.device) -> None:
    """Wait until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def program(model: Any, device: torch.device, **settings: Any) -> Program:
    """Whole `generate` calls of a model of either library."""

    @torch.no_grad()
    def run(ids: Tensor, new: int, beams: int) -> Tensor:
        mask = torch.ones_like(ids)
        found: Tensor = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=new, num_beams=beams, do_sample=False, **settings
        )
        settled(device)
        return found[:, 1:].cpu()

    return run


def programs(place: Path, device: torch.device, dtype: torch.dtype, compiled: bool) -> tuple[Any, dict[str, Program]]:
    """This library's model, and all that takes part."""
    library = reference()
    ours = seqgraft.EncoderDecoderModel.from_pretrained(place, dtype=dtype).to(device).eval()
    kind = json.loads((place / "config.json").read_text(encoding="utf-8"))["model_type"]
    name = "EncoderDecoderModel" if kind == "encoder-decoder" else "T5ForConditionalGeneration"
    theirs = getattr(library, name).from_pretrained(place, dtype=dtype).to(device).eval()
    found = {
        OURS: program(ours, device, cache_implementation="static"),  # on a GPU the default, and recorded
        PLAIN: program(ours, device, cache_implementation="dynamic"),
        EAGER: program(theirs, device),
    }
    if compiled:
        again = getattr(library, name).from_pretrained(place, dtype=dtype).to(device).eval()
        found[COMPILED] = program(again, device, cache_implementation="static")
    return ours, found


def able(found: dict[str, Program], ids: Tensor, new: int, beams: int, said: list[str], what: str) -> dict[str, float]:
    """Run each once, as long as it takes (libraries compile and record then); seconds. Who cannot is left out."""
    took = {}
    for name, run in list(found.items()):
        began = time.perf_counter()
        try:
            run(ids, new, beams)
        except Exception as error:
            if name == OURS:
                raise
            said.append(f"{name}, {what}: {type(error).__name__}: {str(error).strip().splitlines()[0][:160]}")
            del found[name]
            continue
        took[name] = time.perf_counter() - began
    return took


def bandwidth(device: torch.device, size: int) -> float:
    """Bytes a second of copying `size` bytes within the device, read and written ones together; the best of ten."""
    source = torch.empty(size, dtype=torch.uint8, device=device).fill_(1)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(10):
        settled(device)
        began = time.perf_counter()
        target.copy_(source)
        settled(device)
        best = max(best, 2 * size / (time.perf_counter() - began))
    return best


def step_bytes(spec: Any, batch: int, source: int, beams: int, past: int, number: int) -> float:
    """What one step must read, weights and caches of `number` bytes a number."""
    parts = cost.decoder_step(spec, [source] * batch, beams, past, number)
    cached = ("own past", "source")
    return sum(part.read * (number / cost.CACHED if part.name in cached else 1.0) for part in parts)


def check(device: torch.device) -> str:
    """Whether recorded steps choose a CPU's tokens in float32: greedy, 4 beams, sources of several lengths, twice."""
    place = folder("BERT-base", TINY, 120)
    model = seqgraft.EncoderDecoderModel.from_pretrained(place).eval()
    shutil.rmtree(place.parent)
    ids = torch.randint(3, 120, (5, 9), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(9)[None] < torch.tensor([9, 4, 7, 1, 6])[:, None]).long()
    calls = [{"num_beams": beams, "max_new_tokens": new} for beams in (1, 4) for new in (12, 100, 12)]
    settings = {"do_sample": False, "eos_token_id": 7, "pad_token_id": PAD}
    expected = [model.generate(ids * mask, attention_mask=mask, **settings, **call) for call in calls]
    model = model.to(device)
    ids, mask = (ids * mask).to(device), mask.to(device)
    for call, tokens in zip(calls, expected, strict=True):
        found = model.generate(ids, attention_mask=mask, cache_implementation="static", **settings, **call)
        said = same_tokens(found.cpu(), tokens)
        if not said.startswith("same"):
            return f"{call}: {said}"
    return "same tokens as on a CPU"


def lines(asked: argparse.Namespace, ends: float, rate: float, said: list[str]) -> Iterator[Line]:
    """Every size, batch and number of beams, until the time is over."""
    device, dtype = torch.device(asked.device), torch.float32 if asked.tiny else torch.bfloat16
    sizes, source = (TINY, 16) if asked.tiny else (SIZES, asked.source)
    for size in asked.size or list(sizes):
        place = folder(size, sizes, 120 if asked.tiny else None)
        model, found = programs(place, device, dtype, asked.compiled)
        shutil.rmtree(place.parent)
        for batch in asked.batch:
            ids = sources(batch, source).ids.to(device)
            ids = ids % 120 if asked.tiny else ids
            for beams in asked.beams:
                what = f"{size}, {'greedy' if beams == 1 else f'{beams} beams'}, batch {batch}"
                if time.perf_counter() > ends:
                    said.append(f"{what}: left out, the time was over.")
                    continue
                running = dict(found)
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                took = able(running, ids, asked.new, beams, said, what)
                runs = {n: lambda r=r, i=ids, b=beams: r(i, asked.new, b) for n, r in running.items()}
                line = race(
                    what,
                    runs,
                    same_tokens if dtype is torch.float32 else alike,
                    rounds=asked.rounds,
                    amount=batch * asked.new,
                    unit="tokens",
                    warm=False,
                    budget_seconds=asked.seconds / 10,
                )
                firsts = {n: lambda r=r, i=ids, b=beams: r(i, 1, b) for n, r in running.items()}
                first = race("first token", firsts, lambda a, b: "", rounds=3, budget_seconds=asked.seconds / 30)
                read = step_bytes(model.decoder.spec, batch, source, beams, asked.new // 2, dtype.itemsize)
                each = {n: (line.median(n) - first.median(n)) / (asked.new - 1) for n in running}
                line.extra = {
                    "size": size,
                    "batch": batch,
                    "beams": beams,
                    "source": source,
                    "new": asked.new,
                    "first_call_seconds": took,
                    "first_token_seconds": {name: first.median(name) for name in running},
                    "step_seconds": each,
                    "step_bytes": read,
                    "fraction_of_bandwidth": {n: read / s / rate if s > 0 else None for n, s in each.items()},
                    "tokens_per_second": {name: line.amount / line.median(name) for name in running},
                    "peak_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
                }
                yield line
        del model, found
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _listed(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def _about(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return machine() | {"device": name, "transformers": reference().__version__}


def main() -> None:
    """Check, measure, and write down as it goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(SIZES), action="append", help="default: all")
    parser.add_argument("--batch", type=_listed, default=[1, 16, 64], help="default: 1,16,64")
    parser.add_argument("--beams", type=_listed, default=[1, 4], help="default: 1,4")
    parser.add_argument("--source", type=int, default=128, help="tokens of a source")
    parser.add_argument("--new", type=int, default=64, help="tokens to generate")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=540.0, help="no further line begins after so many")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that test the command, not the machine")
    parser.add_argument("--no-compiled", dest="compiled", action="store_false", help="without the compiled peer")
    parser.add_argument("--json", help="file to write the figures to, after every line")
    asked = parser.parse_args()
    if asked.new < 2:
        parser.error(f"--new must be at least 2, but is {asked.new}.")
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device must be 'cpu' where torch finds no GPU, but is 'cuda'.")
    ends = time.perf_counter() + asked.seconds
    warnings.simplefilter("ignore")
    checked = check(device)
    print(f"recorded steps: {checked}", file=sys.stderr)
    rate = bandwidth(device, 1 << (20 if asked.tiny else 32))
    said: list[str] = []
    found: list[Line] = []
    for line in lines(asked, ends, rate, said):
        found.append(line)
        print(f"{line.what}: {json.dumps(line.extra['tokens_per_second'])}; {line.agree}", file=sys.stderr, flush=True)
        if asked.json:
            about = {"machine": _about(device), "checked": checked, "bandwidth": rate, "absent": said}
            rows = [asdict(one) for one in found]
            Path(asked.json).write_text(json.dumps(about | {"lines": rows}, indent=2), encoding="utf-8")
    if found:
        report(f"generate on {_about(device)['device']}, {asked.new} new tokens", found, None, said)
    if not checked.startswith("same"):
        sys.exit(f"Recorded steps do not choose a CPU's tokens: {checked}.")


if __name__ == "__main__":
    main()
