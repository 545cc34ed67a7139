"""Every family passes the preflight, as encoder and as decoder: it gives no false alarm."""

from typing import Any

import pytest
import torch

import seqgraft
from seqgraft.families import family

from ..families.rows import BY_NAME, ROWS, Row
from ..torch.conftest import Made

PARTS = ("encoder", "future", "source padding", "target padding", "cache", "gradients", "vocabularies", "ties")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


def check(encoder: Any, decoder: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(5)
    pair = seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained(encoder, decoder, dtype=dtype)
    report = pair.check()
    assert not [finding for finding in report.failures if finding.name in PARTS], str(report)
    assert report["cache"].passed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("row", [pytest.param(r, id=r.name) for r in ROWS if r.body and family(r.model_type).encoder])
def test_as_encoder(made: Made, row: Row, dtype: torch.dtype) -> None:
    check(made.folder(row, "encoder"), made.folder(BY_NAME["bert"], "decoder"), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("row", [pytest.param(r, id=r.name) for r in ROWS if r.causal])
def test_as_decoder(made: Made, row: Row, dtype: torch.dtype) -> None:
    check(made.folder(BY_NAME["bert"], "encoder"), made.folder(row, "decoder"), dtype)
