"""What this machine can do at most, measured: `python -m benchmarks.ceilings`.

Products by the libraries that torch carries, reading memory, and what a call costs when it does next to nothing.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.cost import Ceilings
from benchmarks.harness import machine
from seqgraft.torch.product import multiply, pack

ROWS = (1, 4, 8, 32)
WEIGHT = (3072, 768)
"""(out, in) of the weight that the products with few rows read; many of them, far more than any cache holds."""
READ = (1 << 20, 1 << 23, 1 << 25, 1 << 29)


def best(run: Callable[[], Any], seconds: float = 0.3) -> float:
    """Seconds of one run, the fastest of those that fit into the time; at least three."""
    run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def _libraries() -> dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    found = {"torch": F.linear}
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        found["onednn"] = multiply
    return found


def _int8() -> float | None:
    """Operations a second of torch's dynamic int8 product; None where this build has none."""
    try:
        warnings.simplefilter("ignore")  # its way to make a weight is old, the product is not
        weight = torch.quantize_per_tensor(torch.randn(3072, 3072), 0.05, 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(weight, None)
        x = torch.randn(1024, 3072)
        seconds = best(lambda: torch.ops.quantized.linear_dynamic(x, packed))
    except (RuntimeError, AttributeError):
        return None
    return 2 * 1024 * 3072 * 3072 / seconds


def _many(count: int) -> list[torch.Tensor]:
    return [torch.randn(WEIGHT) for _ in range(count)]


def _few_rows() -> dict[str, dict[str, float]]:
    """library -> rows -> bytes of weights a second, each weight used once before any comes again."""
    weights = _many(48)
    size = sum(weight.numel() * 4 for weight in weights)
    inputs = {rows: torch.randn(rows, WEIGHT[1]) for rows in ROWS}
    found = {
        name: {str(rows): size / best(lambda c=call, x=x: [c(x, w) for w in weights]) for rows, x in inputs.items()}
        for name, call in _libraries().items()
    }
    if "onednn" in found:
        packed = [pack(weight, 4) for weight in weights]
        found["onednn, packed"] = {
            str(rows): size / best(lambda x=x: [multiply(x, w) for w in packed]) for rows, x in inputs.items()
        }
    return found


def _calls() -> tuple[float, float]:
    """Seconds of a product, and of another operation, that do next to nothing."""
    x, tiny = torch.randn(1, 64), torch.randn(64, 64)
    libraries = _libraries()
    call, weight = (multiply, pack(tiny, 4)) if "onednn" in libraries else (F.linear, tiny)
    thousand = range(1000)
    product = best(lambda: [call(x, weight) for _ in thousand]) / 1000
    return product, best(lambda: [x + x for _ in thousand]) / 1000


@torch.no_grad()
def measured() -> dict[str, Any]:
    """All of it, in operations, bytes and seconds."""
    x, weight = torch.randn(1024, 3072), torch.randn(3072, 3072)
    operations = {
        name: 2 * 1024 * 3072 * 3072 / best(lambda c=call: c(x, weight), 1.0) for name, call in _libraries().items()
    }
    reading = []
    for size in READ:
        held, again = torch.ones(size // 4), max(1, (1 << 25) // size)
        reading.append((size, again * size / best(lambda h=held, n=again: [h.sum() for _ in range(n)], 0.5)))
    product_call, other_call = _calls()
    return {
        "machine": machine(),
        "operations": operations,
        "operations_int8": _int8(),
        "reading": reading,
        "few_rows": _few_rows(),
        "product_call": product_call,
        "other_call": other_call,
    }


def ceilings(found: dict[str, Any], precision: str = "float32") -> Ceilings:
    """As the cost model wants them: the fastest library's products, and reading no slower for more bytes than fewer."""
    most = max(found["operations"].values())
    if precision == "int8":
        most = max(most, found["operations_int8"] or 0)
    reading = tuple((float(size), float(rate)) for size, rate in found["reading"])
    return Ceilings(most, reading, found["product_call"], found["other_call"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=0, help="default: torch's")
    parser.add_argument("--json", help="file to write the figures to")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    found = measured()
    for name, rate in found["operations"].items():
        print(f"products of large float32 matrices, {name}: {rate / 1e9:.0f} GFLOP/s")
    if found["operations_int8"]:
        print(f"the same with int8 weights: {found['operations_int8'] / 1e9:.0f} GFLOP/s")
    for size, rate in found["reading"]:
        print(f"reading {size / 2**20:.0f} MiB over and over: {rate / 1e9:.0f} GB/s")
    for name, rates in found["few_rows"].items():
        said = ", ".join(f"{rate / 1e9:.0f} with {rows}" for rows, rate in rates.items())
        print(f"weights read by products of few rows, {name}: GB/s {said}")
    print(f"a call: product {found['product_call'] * 1e6:.1f} us, another operation {found['other_call'] * 1e6:.1f} us")
    if asked.json:
        Path(asked.json).write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
