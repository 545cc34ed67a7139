"""Training on several devices, two that TensorFlow makes of the host; the number is settled before it starts."""

import pytest

from ..functional.devices import check

pytest.importorskip("tensorflow")


def test_fit_on_several_devices():
    check("tests.tensorflow.devices", "mirrored", TF_CPP_MIN_LOG_LEVEL="3")
