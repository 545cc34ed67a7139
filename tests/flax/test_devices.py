"""`pmap` and meshes, on four devices that XLA makes of the host; the number is settled before JAX starts."""

import pytest

from ..functional.devices import check

pytest.importorskip("jax")
pytest.importorskip("flax")


@pytest.mark.parametrize("name", ["pmapped", "sharded"])
def test_on_several_devices(name):
    four = "--xla_force_host_platform_device_count=4"
    check("tests.flax.devices", name, XLA_FLAGS=four, JAX_PLATFORMS="cpu")
