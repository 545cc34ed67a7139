"""`pmap` and meshes, on four devices that XLA makes of the host; the number is settled before JAX starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["pmapped", "sharded"])
def test_on_several_devices(name):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("devices.py")), name],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
