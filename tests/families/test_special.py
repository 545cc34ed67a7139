"""What ProphetNet refuses."""

from typing import Any

import pytest

from seqgraft import AutoConfig
from seqgraft.errors import ConfigurationError

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"pad_token_id": 1}, "`pad_token_id` must be 0, from which positions count, but is 1"),
    ({"num_encoder_attention_heads": 5}, r"`num_encoder_attention_heads` must divide `hidden_size` \(1024\), but is 5"),
    ({"num_decoder_attention_heads": 3}, r"`num_decoder_attention_heads` must divide `hidden_size` \(1024\), but is 3"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_what_is_not_supported_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AutoConfig.for_model("prophetnet", **fields)
