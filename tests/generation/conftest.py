"""Tiny random pairs of the reference, and an adapter that makes one a `Decoder` behind our `GenerationMixin`."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from seqgraft.generation import GenerationConfig
from seqgraft.generation.outputs import BaseModelOutput
from seqgraft.torch.generate import GenerationMixin
from seqgraft.torch.search import Step

VOCAB = 24
START, END, PAD = 1, 2, 3


class Adapted(GenerationMixin):
    """A reference model behind our `generate`; every step is a full, uncached pass over the ids so far."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.config = model.config
        self.generation_config = GenerationConfig.from_dict(model.generation_config.to_diff_dict())
        self.device = torch.device("cpu")
        self.reorders: list[list[int]] = []

    def encode(self, output_attentions=False, output_hidden_states=False, **inputs):
        outputs = self.model.encoder(
            **inputs, output_attentions=output_attentions, output_hidden_states=output_hidden_states
        )
        return BaseModelOutput(outputs.last_hidden_state, outputs.hidden_states, outputs.attentions)

    def decoding(
        self,
        encoder_outputs,
        attention_mask,
        output_attentions=False,
        output_hidden_states=False,
        decoder_attention_mask=None,
    ):
        fixed = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        if encoder_outputs is not None:
            fixed["encoder_outputs"] = (encoder_outputs.last_hidden_state,)
            fixed["attention_mask"] = attention_mask
        return self, SimpleNamespace(ids=None, mask=decoder_attention_mask, fixed=fixed, cache="cache")

    def step(self, ids, state):
        state.ids = ids if state.ids is None else torch.cat((state.ids, ids), dim=1)
        pair = "encoder_outputs" in state.fixed
        inputs = dict(state.fixed)
        inputs["decoder_input_ids" if pair else "input_ids"] = state.ids
        if state.mask is not None:
            grown = torch.nn.functional.pad(state.mask, (0, state.ids.shape[1] - state.mask.shape[1]), value=1)
            inputs["decoder_attention_mask" if pair else "attention_mask"] = grown
            if not pair:
                inputs["position_ids"] = (grown.cumsum(1) - 1).clamp(min=0)
        out = self.model(**inputs, use_cache=False)
        if pair:
            step = Step(out.logits[:, -1], out.decoder_hidden_states, out.decoder_attentions, out.cross_attentions)
        else:
            step = Step(out.logits[:, -1], out.hidden_states, out.attentions)
        return step, state

    def reorder(self, state, rows):
        self.reorders.append(rows.tolist())
        state.ids = state.ids[rows]
        return state

    def spread(self, state, times, *, mixing=True):
        return self._rows(state, lambda tensor: tensor.repeat_interleave(times, dim=0))

    def keep(self, state, rows):
        return self._rows(state, lambda tensor: tensor[rows])

    def forget(self, state, counts):
        (count,) = counts.unique().tolist()
        state.ids = state.ids[:, : state.ids.shape[1] - count]
        return state

    def _rows(self, state, change):
        state.ids, state.mask = (None if kept is None else change(kept) for kept in (state.ids, state.mask))
        if "encoder_outputs" in state.fixed:
            state.fixed["encoder_outputs"] = (change(state.fixed["encoder_outputs"][0]),)
            mask = state.fixed["attention_mask"]
            state.fixed["attention_mask"] = None if mask is None else change(mask)
        return state


def _spread(model: Any, seed: int) -> Any:
    """Larger random weights, so that outputs are no loops and end tokens come in the middle."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "token_type" in name:
            torch.nn.init.zeros_(parameter)  # one constant direction would make all states alike
        elif "embedding" in name or "wte" in name or "wpe" in name:
            torch.nn.init.normal_(parameter, std=4.0 if "position" in name else 2.0)
        elif "attention" in name and "output" in name and parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.12)
        elif parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.25)
        elif "norm" not in name.lower() and "ln" not in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def _bert(**changes: Any) -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return transformers.BertConfig(
        vocab_size=VOCAB, max_position_embeddings=64, tie_word_embeddings=False, **sizes, **changes
    )


def _gpt2(**changes: Any) -> Any:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    ids = {"bos_token_id": None, "eos_token_id": None}
    return transformers.GPT2Config(vocab_size=VOCAB, tie_word_embeddings=False, **sizes, **ids, **changes)


def reference_pair(decoder: str, seed: int = 0, **ids: Any) -> Any:
    half = {"bert": _bert, "gpt2": _gpt2}[decoder](is_decoder=True, add_cross_attention=True)
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(_bert(), half)
    model = transformers.EncoderDecoderModel(config=config)
    model.config._attn_implementation = "eager"
    model.set_attn_implementation("eager")
    ids = {"decoder_start_token_id": START, "eos_token_id": END, "pad_token_id": PAD, **ids}
    for name, value in ids.items():
        setattr(model.config, name, value)
        setattr(model.generation_config, name, value)
    return _spread(model, seed)


@pytest.fixture(scope="session", params=["bert", "gpt2"])
def pair(request):
    model = reference_pair(request.param)
    return model, Adapted(model)


@pytest.fixture(scope="session")
def lone():
    model = transformers.GPT2LMHeadModel(_gpt2())
    model.set_attn_implementation("eager")
    for name, value in {"eos_token_id": END, "pad_token_id": PAD}.items():
        setattr(model.config, name, value)
        setattr(model.generation_config, name, value)
    _spread(model, 1)
    return model, Adapted(model)


@pytest.fixture(scope="session")
def sources():
    """Three sources of different lengths: ids and mask [3, 7]."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(4, VOCAB, (3, 7), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    mask[2, 3:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}
