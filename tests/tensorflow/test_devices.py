"""Training on several devices, two that TensorFlow makes of the host; the number is settled before it starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

ROOT = Path(__file__).parents[2]


def test_fit_on_several_devices():
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("devices.py")), "mirrored"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
