"""The pair: an encoder in front of a decoder (Rothe et al. 2020, Liu & Lapata 2019)."""

import os
from collections.abc import Callable, Collection
from typing import Any, ClassVar

from torch import Tensor, nn

from seqgraft.config import EncoderDecoderConfig
from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.generation import GenerationConfig, QuantizedCacheConfig
from seqgraft.generation.link import adopted, link, unlink
from seqgraft.generation.outputs import BaseModelOutput, Seq2SeqLMOutput
from seqgraft.torch.cache import EncoderDecoderCache
from seqgraft.torch.compose import compose, taken_over
from seqgraft.torch.decoding import CausalDecoding, DecodingState
from seqgraft.torch.folder import load_pair, save_pair
from seqgraft.torch.foreign import as_encoder, can_take_over
from seqgraft.torch.generate import GenerationMixin
from seqgraft.torch.halves import CausalModel, EncoderModel
from seqgraft.torch.loss import shifted
from seqgraft.torch.masks import further_inputs
from seqgraft.torch.matching import check_halves, check_kinds
from seqgraft.torch.pair_masks import source_mask, target_mask
from seqgraft.torch.pretrained import Pretrained
from seqgraft.torch.product import product
from seqgraft.torch.quantize import quantize
from seqgraft.torch.record import Memory
from seqgraft.torch.report import Report
from seqgraft.torch.resize import resize_both
from seqgraft.torch.tying import shared_names, tie


class EncoderDecoderModel(Pretrained, GenerationMixin):
    """Any pretrained encoder in front of any pretrained decoder.

    Args:
        config: both halves' configurations, copied; taken from `encoder` and `decoder` when those are given.
        encoder: a ready encoder, kept as it is; or any module that maps `input_ids` and `attention_mask` to states
            (`encoder_width` wide, if its `config` does not say): such a pair trains and generates, but is not saved.
        decoder: a ready causal model; one without cross-attention is an error that says how to get one. Another
            library's, of a family that is declared here, is taken over with its weights and grafted.

    A model made here has fresh weights where no half is given, and is in eval mode.
    """

    _config: EncoderDecoderConfig
    _generation_config: GenerationConfig
    main_input_name = "input_ids"
    model_type: ClassVar[str | None] = None
    """The one published encoder-decoder that a class of its own is; None is any pair."""
    accepts_loss_kwargs: ClassVar[bool] = True
    """The field's trainers then count a step's tokens and hand `num_items_in_batch` to `forward`."""

    def __init__(
        self,
        config: EncoderDecoderConfig | None = None,
        encoder: Any = None,
        decoder: Any = None,
        *,
        encoder_width: int | None = None,
        fill: bool = True,
    ) -> None:
        super().__init__()
        encoder = as_encoder(encoder, encoder_width)
        if can_take_over(decoder) and encoder is not None:
            decoder = taken_over(decoder, encoder, {})
        check_kinds(encoder, decoder)
        if config is None:
            if encoder is None or decoder is None:
                raise ConfigurationError("A pair needs `config`, or both `encoder` and `decoder`.")
            config = EncoderDecoderConfig(encoder=encoder.config, decoder=decoder.config)
        config = EncoderDecoderConfig.of(config, self.model_type)
        self.encoder: EncoderModel = encoder if encoder is not None else EncoderModel(config.encoder, fill=fill)
        self.decoder: CausalModel = decoder if decoder is not None else CausalModel(config.decoder, fill=fill)
        check_halves(self.encoder, self.decoder)
        config.encoder, config.decoder = self.encoder.config, self.decoder.config
        self._config = config
        self.enc_to_dec_proj: nn.Linear | None = None
        if config.bridge is not None:
            self.enc_to_dec_proj = self._fresh_bridge(config.bridge, fill)
        if self.encoder.pooler is not None:  # no part of what a pair computes: it would wait for a gradient
            self.encoder.pooler.requires_grad_(False)
        self.generation_config = GenerationConfig.from_model_config(config)
        tie(config, self.encoder, self.decoder)
        self.eval()

    def _fresh_bridge(self, shape: tuple[int, int], fill: bool) -> nn.Linear:
        like = next(self.decoder.parameters())
        bridge = nn.Linear(shape[1], shape[0], device=like.device if fill else "meta", dtype=like.dtype)
        nn.init.normal_(bridge.weight, 0.0, self.decoder.spec.deviation)
        nn.init.zeros_(bridge.bias)
        return bridge

    @property
    def config(self) -> EncoderDecoderConfig:
        """What holds for the pair, and the halves' own configurations."""
        return self._config

    @config.setter
    def config(self, value: EncoderDecoderConfig) -> None:
        self._config = adopted(value, self._config, self._generation_config)

    @property
    def generation_config(self) -> GenerationConfig:
        """What `generate` does unless a call says otherwise."""
        return self._generation_config

    @generation_config.setter
    def generation_config(self, value: GenerationConfig) -> None:
        if "_generation_config" in self.__dict__:
            unlink(self.config, self._generation_config)
        self._generation_config = value
        link(self.config, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        link(self.config, self._generation_config)

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        decoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> "EncoderDecoderModel":
        """Put two checkpoints together, in eval mode; what the decoder lacks of cross-attention is new.

        Args:
            encoder_pretrained_model_name_or_path: folder or hub repository; or give `encoder_model=`, see above.
            decoder_pretrained_model_name_or_path: likewise; or give `decoder_model=`.
            kwargs: with the prefix `encoder_` or `decoder_` for one half: `config`, fields of its configuration, and
                where it is loaded from; without a prefix for both halves: `dtype`, `device_map`,
                `attn_implementation`, `cache_dir`, ...; and fields of the pair's configuration, `tie_encoder_decoder`
                among them. `decoder_graft` says how cross-attention enters a family published without it;
                `tokenizer` and `target_tokenizer` what the special ids are, where nothing else does.
                `encoder_num_hidden_layers` below the checkpoint's keeps its first layers.
        """
        return compose(cls, encoder_pretrained_model_name_or_path, decoder_pretrained_model_name_or_path, kwargs)

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike[str], *, config: PretrainedConfig | None = None, **kwargs: Any
    ) -> "EncoderDecoderModel":
        """Load a pair from a folder or hub repository, in eval mode; the arguments are those of a half.

        Raises:
            CheckpointError: one error that lists all that is missing, unexpected or of another shape.
            FolderError: there is no such folder or repository, or it holds no weights.
        """
        return load_pair(cls, source, config, kwargs)

    @classmethod
    def from_config(cls, config: EncoderDecoderConfig) -> "EncoderDecoderModel":
        """A pair with fresh weights."""
        return cls(config=config)

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        max_shard_size: int | str = "50GB",
        variant: str | None = None,
        safe_serialization: bool = True,
    ) -> None:
        """Write configuration, generation settings and weights, all or nothing; the folder opens in `transformers`."""
        save_pair(self, folder, max_shard_size, variant, safe_serialization)

    def quantize(
        self,
        dtype: str = "int8",
        *,
        modules_to_not_convert: Collection[str] = (),
        progress: Callable[[str, int, int], None] | None = None,
    ) -> "EncoderDecoderModel":
        """Give every linear map and token table 8-bit weights, in place, and return the model.

        `int8` stores whole numbers with a scale for every output (half a step at most from what a weight was, a step
        being its row's largest / 127). On a CPU inputs are quantised too, at every call, row by row, and products are
        those of whole numbers (Dettmers et al. 2022); on other devices, and for `fp8` (E4M3), weights become floats
        within the product. Norms, biases, positions and routers of experts stay floats. Saved folders hold the 8-bit
        weights and open here alone, without the float weights.

        Args:
            dtype: `int8` or `fp8`.
            modules_to_not_convert: patterns of maps that stay floats, as `decoder.head.output` or `encoder.*`.
            progress: called with each map's name, how many are done, and how many there are.

        Raises ConfigurationError for another dtype, a pattern that fits nothing, or a model that is quantised already.
        A quantised model is not trained: `train()` raises.
        """
        return quantize(self, dtype, modules_to_not_convert, progress)

    def check(self, tokenizer: Any = None, target_tokenizer: Any = None) -> Report:
        """The preflight: what would make a training run worthless, seen in seconds with a few tokens.

        The encoder moves the logits, the future and padding do not; cached equals full; all that trains gets a
        gradient; ids, vocabularies, lengths and ties are as declared, and as the tokenizers say. `print` shows it,
        `.passed` and `.failures` tell a program. Mode, weights, gradients and random states stay as they are.
        """
        from seqgraft.torch.check import check

        return check(self, tokenizer, target_tokenizer)

    def get_encoder(self) -> EncoderModel:
        """The encoder half."""
        return self.encoder

    def get_decoder(self) -> CausalModel:
        """The decoder half."""
        return self.decoder

    def get_input_embeddings(self) -> nn.Embedding:
        """The encoder's table of token embeddings."""
        return self.encoder.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Linear | None:
        """The decoder's output map."""
        return self.decoder.get_output_embeddings()

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Resize the one table of a published encoder-decoder; TypeError for a pair of two vocabularies."""
        if shared_names(self.config, self.encoder, self.decoder) == ["embed.weight"]:
            return resize_both(self, *args, **kwargs)
        raise TypeError(
            "A pair has two vocabularies: use model.encoder.resize_token_embeddings(n) or "
            "model.decoder.resize_token_embeddings(n)."
        )

    def freeze_encoder(self) -> None:
        """Let training change nothing of the encoder (what it shares with a tied decoder included)."""
        for parameter in self.encoder.parameters():
            parameter.requires_grad = False

    def tie_weights(self) -> None:
        """Tie again what the configuration says is tied."""
        self.encoder.tie()
        self.decoder.tie()
        tie(self.config, self.encoder, self.decoder)

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """labels [batch, time] -> decoder inputs: shifted right by one after the start id, -100 replaced by padding.

        Raises ValueError when the start id or the padding id is not known.
        """
        start = None if self.config.wraps else self.config.needed("decoder_start_token_id")
        return shifted(labels, start, self.config.needed("pad_token_id"))

    def encode(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        **inputs: Any,
    ) -> BaseModelOutput:
        """The encoder's states of a source; `inputs` are what it alone takes, as `global_attention_mask`."""
        out: BaseModelOutput = self.encoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            **{name: value for name, value in inputs.items() if value is not None},
        )
        return out

    def bridge(self, states: Tensor) -> Tensor:
        """The encoder's states at the width that the decoder reads."""
        return states if self.enc_to_dec_proj is None else product(self.enc_to_dec_proj, states)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: EncoderDecoderCache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        decoder_position_ids: Tensor | None = None,
        decoder_token_type_ids: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        **inputs: Tensor | None,
    ) -> Seq2SeqLMOutput | tuple[Any, ...]:
        """Source ids [batch, time], labels [batch, target_time] -> loss and logits [batch, target_time, vocabulary].

        Labels of -100 count nothing; the decoder's inputs are made of them unless given. Masks are 1 where a token
        may be seen; without one, padding is recognised by its id. `encoder_outputs` (an output or a tuple) stands for
        the source; `past_key_values` for the target so far. `global_attention_mask` [batch, time] is 1 for tokens of
        the source that see everything (Longformer); without it there are none. `num_items_in_batch` is what the summed
        loss is divided by, when the batch is part of a larger one. `inputs` are those of the encoder's family alone, as
        `EncoderModel.forward` names them; TypeError for others.
        """
        if output_attentions is None and self.config.output_attentions:  # else each half's own configuration says
            output_attentions = True
        if output_hidden_states is None and self.config.output_hidden_states:
            output_hidden_states = True
        attention_mask = source_mask(self.config, input_ids, attention_mask)
        if encoder_outputs is None:
            source = self.encode(
                input_ids,
                attention_mask,
                inputs_embeds,
                token_type_ids,
                position_ids,
                output_attentions,
                output_hidden_states,
                global_attention_mask=global_attention_mask,
                **inputs,
            )
        else:
            if isinstance(self.encoder, EncoderModel):
                further_inputs(self.encoder.spec, inputs, self.encoder.config.model_type)
            source = encoder_outputs
            if not isinstance(source, BaseModelOutput):
                values = source.to_tuple() if hasattr(source, "to_tuple") else tuple(source)
                source = BaseModelOutput(*values)
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        if decoder_attention_mask is None and decoder_input_ids is not None and past_key_values is None:
            decoder_attention_mask = target_mask(self.config, decoder_input_ids)
        wants_cache = self.config.use_cache and labels is None and not self.training if use_cache is None else use_cache
        target = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=self.bridge(source.last_hidden_state),
            encoder_attention_mask=attention_mask,
            inputs_embeds=decoder_inputs_embeds,
            position_ids=decoder_position_ids,
            token_type_ids=decoder_token_type_ids,
            past_key_values=past_key_values,
            use_cache=wants_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            output_ngram_logits=labels is not None,
        )
        more = target.get("logits_ngram")
        out = Seq2SeqLMOutput(
            None if labels is None else self.decoder.loss(target.logits, more, labels, num_items_in_batch),
            target.logits,
            target.past_key_values,
            target.hidden_states,
            target.attentions,
            target.cross_attentions,
            source.last_hidden_state,
            source.hidden_states,
            source.attentions,
        )
        return out if (self.config.return_dict if return_dict is None else return_dict) else out.to_tuple()

    def decoding(
        self,
        encoder_outputs: BaseModelOutput,
        attention_mask: Tensor | None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        decoder_attention_mask: Tensor | None = None,
        quantized_cache: QuantizedCacheConfig | None = None,
    ) -> tuple[CausalDecoding, DecodingState]:
        """The decoder and its state before the prompt [sources, time], one row a source."""
        memory = Memory(self.bridge(encoder_outputs.last_hidden_state), attention_mask)
        state = self.decoder.start(
            memory,
            decoder_attention_mask,
            states_asked=output_hidden_states,
            attentions_asked=output_attentions,
            quantized=quantized_cache,
        )
        return self.decoder, state
