"""Maps stacked for inference equal the modules that they are made of, where only some of those have a bias."""

import pytest
import torch

from seqgraft import AutoConfig
from seqgraft.torch.halves import EncoderModel
from seqgraft.torch.prepare import applied, prepare

from ..families.rows import BY_NAME, batch, distance


@pytest.mark.parametrize("name", ["deberta", "gte"])
@torch.no_grad()
def test_prepared_maps(name: str) -> None:
    row = BY_NAME[name]
    model = EncoderModel(AutoConfig.for_model(row.model_type, **row.config))
    for parameter in model.parameters():
        parameter.normal_(0.0, 0.2)
    expected = model(**batch())[0]
    with applied(prepare(model)):
        assert distance(model(**batch())[0], expected) < 1e-5
