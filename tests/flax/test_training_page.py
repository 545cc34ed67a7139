"""The training example of `docs/frameworks.md`, run as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

import seqgraft

pytest.importorskip("jax")
pytest.importorskip("optax")

from .test_model import BERT, IDS, LABELS, TEXT

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"


def test_the_example_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = seqgraft.EncoderDecoderConfig(
        encoder=seqgraft.BertConfig(**BERT, **TEXT),
        decoder=seqgraft.GPT2Config(
            vocab_size=61, n_embd=32, n_layer=1, n_head=4, n_positions=64, add_cross_attention=True, **TEXT
        ),
    )
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    seqgraft.EncoderDecoderModel(config=config).save_pretrained("bert2gpt2")
    example = next(code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "optax" in code)
    example = example.replace("optax.warmup_cosine_decay_schedule(0.0, 5e-5, 100, 1000)", "3e-3")
    batch = {"input_ids": IDS, "attention_mask": (IDS != 0).astype(np.int32), "labels": LABELS}
    held: dict[str, object] = {"batches": [batch] * 30}
    exec(example, held)
    tuned = seqgraft.EncoderDecoderModel.from_pretrained("bert2gpt2-tuned", from_flax=True)
    before = seqgraft.FlaxEncoderDecoderModel.from_pretrained("bert2gpt2")(**batch).loss
    after = seqgraft.FlaxEncoderDecoderModel.from_pretrained("bert2gpt2-tuned")(**batch).loss
    assert float(after) < float(before) - 0.5
    assert tuned.config.decoder.n_layer == 1
