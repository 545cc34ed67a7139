"""What is mended in the originals before they serve as oracles, each with its reason (`make oracle`)."""

import inspect
from typing import Any

COUNTED = ("roberta", "xlm-roberta", "camembert", "roberta-prelayernorm")
"""Families whose positions count the tokens that are no padding, from the padding's id on."""


def counted(input_ids: Any, pad: int) -> Any:
    """Positions [batch, time] of RoBERTa's kind: the padding's id for padding, else one more for every token."""
    import jax.numpy as jnp

    real = (input_ids != pad).astype("i4")
    return jnp.cumsum(real, axis=-1) * real + pad


def mend_flax() -> None:
    """The Flax pair of 4.57.6, so that it computes what the PyTorch pair of the same release computes.

    - `encode` hands its positions to the encoder as the third argument, which in BERT's kind is the token types: rows
      that the table does not have are read as NaN, and `generate` gives padding alone. Here they go by name.
    - Encoders of ELECTRA's kind must be given token types, ALBERT's and BERT's too outside their own model class, and
      the pair gives none; DistilBERT takes no positions and is given them. Here each gets what it takes: types are 0.
    - The pair numbers the positions 0, 1, 2, ... for every family; RoBERTa's count the tokens that are no padding, from
      the padding's id on, and the PyTorch pair does so. Here too, in both halves, cached steps included.
    """
    from transformers.modeling_flax_outputs import FlaxSeq2SeqLMOutput
    from transformers.models.encoder_decoder import modeling_flax_encoder_decoder as theirs

    class Mended(theirs.FlaxEncoderDecoderModule):  # type: ignore[misc, name-defined]
        def _get_encoder_module(self) -> Any:
            return self.encode

        def _get_decoder_module(self) -> Any:
            return self.decode

        def encode(self, input_ids: Any, attention_mask: Any, position_ids: Any, **more: Any) -> Any:
            takes = inspect.signature(type(self.encoder).__call__).parameters
            config = self.config.encoder
            if config.model_type in COUNTED:
                position_ids = counted(input_ids, config.pad_token_id)
            if "position_ids" in takes:
                more["position_ids"] = position_ids
            if "token_type_ids" in takes:
                more["token_type_ids"] = input_ids * 0
            return self.encoder(input_ids=input_ids, attention_mask=attention_mask, **more)

        def decode(self, input_ids: Any, attention_mask: Any, position_ids: Any, **more: Any) -> Any:
            config = self.config.decoder
            if config.model_type in COUNTED:
                pad = config.pad_token_id
                position_ids = position_ids + pad + 1 if input_ids.shape[-1] == 1 else counted(input_ids, pad)
            takes = inspect.signature(type(self.decoder).__call__).parameters
            if "token_type_ids" in takes:
                more["token_type_ids"] = input_ids * 0
            return self.decoder(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, **more)

        def __call__(
            self,
            input_ids: Any,
            attention_mask: Any,
            decoder_input_ids: Any,
            decoder_attention_mask: Any,
            position_ids: Any,
            decoder_position_ids: Any,
            **more: Any,
        ) -> Any:
            seen = self.encode(input_ids, attention_mask, position_ids, **more)
            memory = seen[0] if self.enc_to_dec_proj is None else self.enc_to_dec_proj(seen[0])
            said = self.decode(
                decoder_input_ids,
                decoder_attention_mask,
                decoder_position_ids,
                encoder_hidden_states=memory,
                encoder_attention_mask=attention_mask,
                **more,
            )
            return FlaxSeq2SeqLMOutput(
                logits=said.logits,
                decoder_hidden_states=said.hidden_states,
                decoder_attentions=said.attentions,
                cross_attentions=said.cross_attentions,
                encoder_last_hidden_state=seen.last_hidden_state,
                encoder_hidden_states=seen.hidden_states,
                encoder_attentions=seen.attentions,
            )

    theirs.FlaxEncoderDecoderModel.module_class = Mended


def mend_jax() -> None:
    """`jax.numpy.clip(a_min=, a_max=)`, which T5 calls, lost these names in JAX: they are its `min` and `max`."""
    import jax.numpy as jnp

    clip = jnp.clip
    if "a_max" in inspect.signature(clip).parameters:
        return

    def named(array: Any, *bounds: Any, a_min: Any = None, a_max: Any = None, **more: Any) -> Any:
        more |= {name: bound for name, bound in (("min", a_min), ("max", a_max)) if bound is not None}
        return clip(array, *bounds, **more)

    jnp.clip = named


def mend() -> None:
    """Everything."""
    mend_jax()
    mend_flax()
