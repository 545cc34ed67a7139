"""The two halves: an encoder, and a causal language model that may see an encoder."""

import os
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft import folders
from seqgraft.errors import ConfigurationError
from seqgraft.families import family
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.generation import GenerationConfig, QuantizedCacheConfig
from seqgraft.generation.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPooling,
    CausalLMOutputWithCrossAttentions,
    CausalLMOutputWithStreams,
)
from seqgraft.torch.cache import EncoderDecoderCache
from seqgraft.torch.decoding import CausalDecoding, DecodingState
from seqgraft.torch.generate import GenerationMixin
from seqgraft.torch.half import Half
from seqgraft.torch.languages import by_language
from seqgraft.torch.loss import cross_entropy
from seqgraft.torch.masks import further_inputs, seen_everywhere
from seqgraft.torch.record import Memory, Record
from seqgraft.torch.streams import streams_loss


class EncoderModel(Half):
    """The bare body of any family: token ids -> states."""

    side = "encoder"

    def __init__(self, config: PretrainedConfig, add_pooling_layer: bool | None = None, *, fill: bool = True) -> None:
        super().__init__(config, fill=fill)
        pooled = family(config.model_type).pooled and self.model_type is not None
        if add_pooling_layer if add_pooling_layer is not None else pooled:
            if not family(config.model_type).pooled:
                raise ConfigurationError(f"`add_pooling_layer` must be False: '{config.model_type}' has no pooler.")
            self._make_pooler(torch.get_default_device() if fill else torch.device("meta"))

    @classmethod
    def _options(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {"add_pooling_layer": kwargs.pop("add_pooling_layer", None)}

    def _make_pooler(self, device: torch.device) -> None:
        dense = nn.Linear(self.spec.width, self.spec.width, device=device)
        nn.init.normal_(dense.weight, 0.0, self.spec.deviation)
        nn.init.zeros_(dense.bias)
        self.pooler = nn.ModuleDict({"dense": dense})

    def _after_loading(self, device: torch.device) -> None:
        if self.pooler is None:
            return
        self._make_pooler(device)
        self.pooler.to(self.dtype)
        dense = self.pooler["dense"]
        for leaf in ("weight", "bias"):
            stored = self.carried.pop(f"{self._pooler_name()}.{leaf}", None)
            if stored is not None:
                dense._parameters[leaf] = nn.Parameter(stored)

    def _carried(self) -> dict[str, Tensor]:
        if self.pooler is None:
            return self.carried
        dense = self.pooler["dense"].named_parameters()
        return {**self.carried, **{f"{self._pooler_name()}.{leaf}": p.detach() for leaf, p in dense}}

    def _pooler_name(self) -> str:
        return self.names().prefix + family(self.config.model_type).pooler

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        global_attention_mask: Tensor | None = None,
        **inputs: Tensor | None,
    ) -> BaseModelOutput | BaseModelOutputWithPooling | tuple[Any, ...]:
        """input_ids [batch, time] or inputs_embeds [batch, time, width] -> last_hidden_state [batch, time, width].

        attention_mask [batch, time] is 1 where a token may be seen; without it everything is. global_attention_mask
        [batch, time] is 1 for tokens that see everything and that everything sees, where the family has such
        (Longformer, Beltagy et al. 2020): without it there are none, unless attention_mask is 2 for them. ValueError
        for a family that has none. `inputs` are those of the family alone: ERNIE's `task_type_ids`, XLM's `langs`,
        RoCBert's `input_shape_ids` and `input_pronunciation_ids` [batch, time], LayoutLM's `bbox` [batch, time, 4],
        X-MOD's `lang_ids` [batch]; TypeError for one that it does not have.
        """
        config = self.config
        which = self.spec.adapted_by
        if which is not None and (rows := inputs.pop(which, None)) is not None:
            given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            given |= {"position_ids": position_ids, "inputs_embeds": inputs_embeds, **inputs}
            asked = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
            made: Any = by_language(self, rows, {**given, **asked, "return_dict": True})
            told: BaseModelOutput | tuple[Any, ...] = made
            return told if (config.return_dict if return_dict is None else return_dict) else made.to_tuple()
        everywhere = seen_everywhere(self.spec, attention_mask, global_attention_mask, config.model_type)
        if self.spec.sees_everywhere and attention_mask is not None:
            attention_mask = (attention_mask != 0).long()  # a 2 counts as one token, too
        record = Record.asked(
            config.output_hidden_states if output_hidden_states is None else output_hidden_states,
            config.output_attentions if output_attentions is None else output_attentions,
        )
        states = self.states(
            input_ids,
            embeddings=inputs_embeds,
            mask=attention_mask,
            positions=position_ids,
            token_types=token_type_ids,
            record=record,
            everywhere=everywhere,
            inputs=further_inputs(self.spec, inputs, config.model_type),
        )
        hidden = None if record.states is None else tuple(record.states)
        seen = None if record.attentions is None else tuple(record.attentions)
        if self.pooler is None:
            out: BaseModelOutput | BaseModelOutputWithPooling = BaseModelOutput(states, hidden, seen)
        else:
            pooled = torch.tanh(self.pooler["dense"](states[:, 0]))
            out = BaseModelOutputWithPooling(states, pooled, hidden, seen)
        return out if (config.return_dict if return_dict is None else return_dict) else out.to_tuple()


class CausalModel(CausalDecoding, Half, GenerationMixin):
    """A language model of any family: token ids -> logits over the next token, looking at an encoder if it has one."""

    side = "decoder"
    accepts_loss_kwargs: ClassVar[bool] = True
    """The field's trainers then count a step's tokens and hand `num_items_in_batch` to `forward`."""

    def __init__(self, config: PretrainedConfig, *, fill: bool = True) -> None:
        super().__init__(config, fill=fill)
        self.generation_config = GenerationConfig.from_model_config(config)

    def _load_generation(self, source: str | os.PathLike[str], origin: folders.Origin) -> None:
        if folders.find(source, "generation_config.json", origin) is not None:
            self.generation_config = GenerationConfig.from_pretrained(source, **vars(origin))

    def _save_generation(self, staged: os.PathLike[str]) -> None:
        self.generation_config.save_pretrained(staged)

    def decoding(
        self,
        encoder_outputs: BaseModelOutput | None = None,
        attention_mask: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        decoder_attention_mask: Tensor | None = None,
        quantized_cache: QuantizedCacheConfig | None = None,
    ) -> tuple[CausalDecoding, DecodingState]:
        """The model and its state before the prompt [rows, time], which `decoder_attention_mask` covers."""
        memory = Memory(None if encoder_outputs is None else encoder_outputs.last_hidden_state, attention_mask)
        asked = {"states_asked": output_hidden_states, "attentions_asked": output_attentions}
        return self, self.start(memory, decoder_attention_mask, quantized=quantized_cache, **asked)

    def loss(self, logits: Tensor, more: Tensor | None, labels: Tensor, count: Tensor | int | None = None) -> Tensor:
        """Cross-entropy at labels [batch, time]; `more` are the logits of further streams, where there are some."""
        spec = self.spec.streams
        if spec is None:
            return cross_entropy(logits, labels, count)
        each = logits[:, None] if more is None else torch.cat((logits[:, None], more), 1)
        return streams_loss(each, labels, spec, count)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        output_ngram_logits: bool = False,
    ) -> CausalLMOutputWithCrossAttentions | tuple[Any, ...]:
        """input_ids [batch, time] -> logits [batch, time, vocabulary], and the loss of `labels` [batch, time].

        The label of a position is the token there; it is compared with the logits of the position before. Labels of
        -100 count nothing. attention_mask covers the past as well as `input_ids`. With `output_ngram_logits`, or with
        labels, a model whose streams look ahead gives those of each further one too, `logits_ngram`.
        """
        config = self.config
        record = Record.asked(
            config.output_hidden_states if output_hidden_states is None else output_hidden_states,
            config.output_attentions if output_attentions is None else output_attentions,
        )
        if self.spec.streams is not None and (output_ngram_logits or labels is not None):
            record.ahead = []
        cache = past_key_values
        if cache is None and (use_cache if use_cache is not None else False):
            cache = EncoderDecoderCache(len(self.layers))
        states = self.states(
            input_ids,
            embeddings=inputs_embeds,
            mask=attention_mask,
            positions=position_ids,
            token_types=token_type_ids,
            memory=Memory(encoder_hidden_states, encoder_attention_mask),
            cache=cache,
            record=record,
        )
        logits = self.logits(states)
        more = self.logits(record.ahead[0][:, 1:]) if record.ahead else None
        loss = None
        if labels is not None:
            loss = self.loss(logits, more, F.pad(labels, (0, 1), value=-100)[:, 1:], num_items_in_batch)
        values = (
            loss,
            logits,
            cache,
            None if record.states is None else tuple(record.states),
            None if record.attentions is None else tuple(record.attentions),
            tuple(record.cross_attentions) if record.cross_attentions else None,
        )
        plain = CausalLMOutputWithCrossAttentions
        out = plain(*values) if more is None else CausalLMOutputWithStreams(*values, more)
        return out if (config.return_dict if return_dict is None else return_dict) else out.to_tuple()
