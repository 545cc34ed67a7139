"""Published encoder-decoders: their halves for the suite of families, and the wholes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.models.mvp.modeling_mvp import MvpEncoder

from .row import LONGEST, VOCABULARY, Row
from .rows_special import PROPHETNET, straighten

BART = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 44,
    "decoder_ffn_dim": 52,
    "max_position_embeddings": LONGEST,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
}
T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 6,
    "d_ff": 44,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
}


def _counts_without_ids(model: Any, both_ways: bool) -> None:
    """TrOCR's sines are counted from ids, and fail where embeddings stand for them."""
    decoder = model.model.decoder
    counted = decoder.embed_positions.forward
    seen: dict[str, Any] = {}
    decoder.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True)

    def forward(input_ids: Any, past_key_values_length: int = 0) -> Any:
        if input_ids is None:
            input_ids = torch.full(seen["inputs_embeds"].shape[:2], 5)
        return counted(input_ids, past_key_values_length)

    decoder.embed_positions.forward = forward


_GEMMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 44,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "max_position_embeddings": LONGEST,
    "query_pre_attn_scalar": 5,
    "sliding_window": 4,
}
T5GEMMA = {
    "vocab_size": VOCABULARY,
    "encoder": _GEMMA,
    "decoder": {**_GEMMA, "num_hidden_layers": 2, "hidden_size": 48, "num_attention_heads": 6},
}

_DROPOUTS = ("dropout", "attention_dropout", "activation_dropout")
_HALVES: dict[str, tuple[str, str, str | None, dict[str, Any]]] = {
    "mbart": ("mbart", "MBartModel", "MBartForCausalLM", {"scale_embedding": True}),
    "plbart": ("plbart", "PLBartModel", "PLBartForCausalLM", {}),
    "mvp": ("mvp", "MvpModel", "MvpForCausalLM", {}),
    "mvp-prompts": ("mvp", "MvpModel", None, {"use_prompt": True, "prompt_length": 5, "prompt_mid_dim": 12}),
    "blenderbot-small": ("blenderbot-small", "BlenderbotSmallModel", "BlenderbotSmallForCausalLM", {}),
    "blenderbot": ("blenderbot", "BlenderbotModel", "BlenderbotForCausalLM", {"scale_embedding": True}),
    "pegasus": ("pegasus", "PegasusModel", "PegasusForCausalLM", {"activation_function": "relu"}),
    "marian": ("marian", "MarianModel", "MarianForCausalLM", {"pad_token_id": 1, "activation_function": "swish"}),
    "bigbird_pegasus": (
        "bigbird_pegasus",
        "BigBirdPegasusModel",
        "BigBirdPegasusForCausalLM",
        {"attention_type": "original_full"},
    ),
    "bigbird_pegasus-biased": (
        "bigbird_pegasus",
        "BigBirdPegasusModel",
        "BigBirdPegasusForCausalLM",
        {"attention_type": "original_full", "use_bias": True},
    ),
    "m2m_100": ("m2m_100", "M2M100Model", None, {}),
}


def _with_its_prompts(self: MvpEncoder, config: Any, embed_tokens: Any = None, use_prompt: bool = False) -> None:
    _without(self, config, None, use_prompt or embed_tokens is True)


_without = MvpEncoder.__init__
MvpEncoder.__init__ = _with_its_prompts
"""The reference's MvpModel hands `use_prompt` to its encoder in the place of another argument, so that its encoder
loses the prompts that the published files hold."""

ROWS_SEQ2SEQ = (
    *(
        Row(
            name,
            model_type,
            {**BART, **more},
            body,
            causal,
            dropouts=_DROPOUTS[: 2 if model_type == "bigbird_pegasus" else 3],  # whose encoder has no third
            positions=False,
            own_files=False,
            shifted=False,
        )
        for name, (model_type, body, causal, more) in _HALVES.items()
    ),
    *(
        Row(
            name,
            "trocr",
            {n: v for n, v in {**BART, **more}.items() if "encoder" not in n},
            "",
            "TrOCRForCausalLM",
            dropouts=_DROPOUTS,
            positions=False,
            shifted=False,
            mend=_counts_without_ids if name == "trocr-bare" else None,
        )
        for name, more in (
            ("trocr", {}),
            ("trocr-bare", {"layernorm_embedding": False, "use_learned_position_embeddings": False}),
            ("trocr-scaled", {"scale_embedding": True, "activation_function": "relu"}),
        )
    ),
    Row(
        "t5gemma",
        "t5gemma",
        {**T5GEMMA, "is_encoder_decoder": False},
        "T5GemmaEncoderModel",
        dropouts=("dropout_rate", "attention_dropout"),
        positions=False,
    ),
    *(
        Row(name, model_type, {**T5, **more}, body, dropouts=("dropout_rate",), positions=False)
        for name, model_type, body, more in (
            ("t5", "t5", "T5EncoderModel", {}),
            ("t5-gated", "t5", "T5EncoderModel", {"feed_forward_proj": "gated-gelu"}),
            ("mt5", "mt5", "MT5EncoderModel", {}),
            ("umt5", "umt5", "UMT5EncoderModel", {}),
        )
    ),
)


@dataclass(frozen=True)
class WholeRow:
    """A published encoder-decoder, or one layout of it."""

    name: str
    model_type: str
    model: str
    """The class, of the same name in both libraries."""
    config: dict[str, Any] = field(hash=False)
    untied: bool = False
    """Whether the output table is its own although the reference's configuration says otherwise (T5 version 1.1)."""
    mend: Callable[[Any], None] | None = None
    """See `Row`."""
    generation: dict[str, Any] = field(default_factory=dict, hash=False)
    """What the folder's `generation_config.json` says beside the special ids."""


WHOLES = (
    WholeRow("bart", "bart", "BartForConditionalGeneration", BART, generation={"forced_bos_token_id": 5}),
    WholeRow("bart-untied", "bart", "BartForConditionalGeneration", {**BART, "tie_word_embeddings": False}),
    WholeRow(
        "mbart",
        "mbart",
        "MBartForConditionalGeneration",
        {**BART, "scale_embedding": True, "decoder_start_token_id": 2},
        generation={"forced_bos_token_id": 7, "forced_eos_token_id": 2},
    ),
    WholeRow("plbart", "plbart", "PLBartForConditionalGeneration", {**BART, "decoder_start_token_id": 4}),
    WholeRow("mvp", "mvp", "MvpForConditionalGeneration", BART),
    WholeRow(
        "mvp-prompts",
        "mvp",
        "MvpForConditionalGeneration",
        {**BART, "use_prompt": True, "prompt_length": 5, "prompt_mid_dim": 12},
    ),
    WholeRow("blenderbot-small", "blenderbot-small", "BlenderbotSmallForConditionalGeneration", BART),
    WholeRow("blenderbot", "blenderbot", "BlenderbotForConditionalGeneration", BART),
    WholeRow("pegasus", "pegasus", "PegasusForConditionalGeneration", {**BART, "scale_embedding": True}),
    WholeRow("m2m_100", "m2m_100", "M2M100ForConditionalGeneration", BART, generation={"forced_bos_token_id": 9}),
    WholeRow("marian", "marian", "MarianMTModel", {**BART, "pad_token_id": 1, "decoder_start_token_id": 1}),
    WholeRow(
        "marian-two-tables",
        "marian",
        "MarianMTModel",
        {
            **BART,
            "pad_token_id": 1,
            "decoder_start_token_id": 1,
            "share_encoder_decoder_embeddings": False,
            "decoder_vocab_size": VOCABULARY - 4,
        },
    ),
    WholeRow(
        "bigbird_pegasus",
        "bigbird_pegasus",
        "BigBirdPegasusForConditionalGeneration",
        {**BART, "attention_type": "original_full"},
    ),
    WholeRow("t5", "t5", "T5ForConditionalGeneration", {**T5, "decoder_start_token_id": 0}),
    WholeRow(
        "t5-1.1",
        "t5",
        "T5ForConditionalGeneration",
        {**T5, "decoder_start_token_id": 0, "feed_forward_proj": "gated-gelu", "scale_decoder_outputs": False},
        untied=True,
    ),
    WholeRow("mt5", "mt5", "MT5ForConditionalGeneration", T5, untied=True),
    WholeRow("t5gemma", "t5gemma", "T5GemmaForConditionalGeneration", T5GEMMA),
    WholeRow("umt5", "umt5", "UMT5ForConditionalGeneration", T5),
    WholeRow(
        "prophetnet",
        "prophetnet",
        "ProphetNetForConditionalGeneration",
        {**PROPHETNET, "eps": 0.1},
        mend=straighten,
    ),
    WholeRow(
        "prophetnet-three",
        "prophetnet",
        "ProphetNetForConditionalGeneration",
        {**PROPHETNET, "ngram": 3, "disable_ngram_loss": True},
        mend=straighten,
    ),
)
