"""Loading holds the parameters once: peak resident memory at most 1.2 times their size, however they are stored."""

import subprocess
import sys

import pytest
import torch

from seqgraft.torch.weights import write_weights

LAYERS, WIDTH = 16, 1536
PROGRAM = """
import re, sys
from pathlib import Path
import torch
from seqgraft.checkpoints import open_weights
from seqgraft.families.naming import Piece
from seqgraft.torch.weights import TorchReader

def resident(what):
    return int(re.search(rf"{what}:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024

torch.empty(1).add_(1)
before = resident("VmRSS")
kept = {}
with TorchReader(open_weights(sys.argv[1])) as reader:
    for name, (rows, columns) in reader.files.shapes.items():
        if sys.argv[2] == "straight":
            kept[name] = reader.tensor(Piece(name))
        elif sys.argv[2] == "turned":
            kept[name] = reader.tensor(Piece(name, turned=True))
        else:
            for at in range(0, columns, columns // 3):
                kept[name, at] = reader.tensor(Piece(name, turned=True, rows=(at, at + columns // 3)))
    touched = sum(float(tensor.sum()) for tensor in kept.values())
size = sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
print((resident("VmHWM") - before) / size, size, touched)
"""


@pytest.fixture(scope="module", params=["safetensors", "zip", "legacy"])
def folder(request, tmp_path_factory):
    """About 400 MB of matrices, as GPT-2's `c_attn` stores them."""
    path = tmp_path_factory.mktemp("large")
    tensors = {f"h.{i}.c_attn.weight": torch.full((WIDTH, 3 * WIDTH), 0.5) for i in range(LAYERS)}
    if request.param == "safetensors":
        write_weights(path, tensors)
    else:
        torch.save(tensors, path / "pytorch_model.bin", _use_new_zipfile_serialization=request.param == "zip")
    return path


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("way", ["straight", "turned", "cut"])
def test_peak_memory_of_loading(folder, way):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder), way], capture_output=True, text=True, check=True)
    ratio, size, touched = map(float, done.stdout.split())
    assert size == LAYERS * WIDTH * 3 * WIDTH * 4
    assert touched == size / 8
    assert 0.9 < ratio < 1.2, f"peak resident memory is {ratio:.2f} times the parameters"


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_of_writing(tmp_path):
    """Turned matrices are made contiguous one at a time: writing adds little to what the model takes."""
    program = f"""
import re, torch
from pathlib import Path
from seqgraft.torch.weights import write_weights
def resident(what):
    return int(re.search(rf"{{what}}:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024
tensors = {{f"{{i}}": torch.ones({WIDTH}, {3 * WIDTH}).t() for i in range({LAYERS})}}
before = resident("VmRSS")
write_weights(Path({str(tmp_path)!r}), tensors)
print((resident("VmHWM") - before) / sum(t.numel() * 4 for t in tensors.values()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.2
