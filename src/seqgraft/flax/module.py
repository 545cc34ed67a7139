"""The Linen module of a pair: parameters by their published names, and what `apply` computes with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqgraft.checkpoints.initial import distribution
from seqgraft.config import EncoderDecoderConfig
from seqgraft.families import family
from seqgraft.flax.ops import JaxOps
from seqgraft.flax.tree import Leaf, Tree, core_weights, leaves, put
from seqgraft.functional import host
from seqgraft.functional.pair import Pair, asked, bridge, decode, encode, loss, shifted, source_mask, target_mask
from seqgraft.functional.run import Noise, Run
from seqgraft.functional.stack import Cache, Memory, Record, Text, empty_cache, remembered
from seqgraft.generation.outputs import BaseModelOutput, CausalLMOutputWithCrossAttentions, Seq2SeqLMOutput

Initial = Callable[[Any], Any]
"""(key) -> a leaf's first value."""


class Branch(nn.Module):
    """One level of the params tree: leaves that are parameters, and levels below."""

    below: Mapping[str, Any]
    """Name -> (initialiser, shape), or a further level."""

    @nn.compact
    def __call__(self) -> Tree:
        """The level's values."""
        held: Tree = {}
        for name, one in self.below.items():
            if isinstance(one, Mapping):
                held[name] = Branch(one, name=name)()
            else:
                held[name] = self.param(name, one[0])
        return held


class FlaxEncoderDecoderModule(nn.Module):
    """An encoder, a decoder that sees it, and the projection between them where their widths differ.

    `init` and `apply` are Linen's; `apply(variables, ..., method=module.encode)` and `method=module.decode` run the
    halves. Dropout needs `deterministic=False` and `rngs={"dropout": key}`.
    """

    config: EncoderDecoderConfig
    dtype: Any = jnp.float32
    """Of the computation; parameters keep theirs."""
    carried: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """(name in a PyTorch file, shape) of what stands among the parameters and computes nothing (a pooler)."""

    def setup(self) -> None:
        """The first levels of the tree."""
        below: Tree = {}
        for leaf in self._leaves():
            put(below, leaf.path, (initial(self.config, leaf), leaf.shape))
        for name, one in below.items():
            setattr(self, name, Branch(one) if isinstance(one, dict) else self.param(name, one[0]))
        self._names = tuple(below)

    def _leaves(self) -> list[Leaf]:
        return leaves(self.config, dict(self.carried))

    def _run(self, deterministic: bool) -> Run:
        ops = JaxOps()
        held = {name: getattr(self, name) for name in self._names}
        tree = {name: one() if isinstance(one, Branch) else one for name, one in held.items()}
        weights = core_weights(self.config, tree, self._leaves())
        weights |= {name: jnp.asarray(value) for name, value in host.computed(self.config).items()}
        weights = {name: computed_in(value, self.dtype) for name, value in weights.items()}
        return Run(ops, weights, None if deterministic else Noise(ops, self.make_rng("dropout")))

    def __call__(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        decoder_input_ids: Any = None,
        decoder_attention_mask: Any = None,
        position_ids: Any = None,
        decoder_position_ids: Any = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        deterministic: bool = True,
        labels: Any = None,
        inputs_embeds: Any = None,
        decoder_inputs_embeds: Any = None,
        token_type_ids: Any = None,
        num_items_in_batch: Any = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Source ids [batch, time] and target ids or labels [batch, target_time] -> `Seq2SeqLMOutput`."""
        run, pair = self._run(deterministic), Pair.of(self.config)
        ops = run.ops
        attention_mask = source_mask(ops, pair, input_ids, attention_mask)
        source, target = (asked(output_hidden_states, output_attentions) for _ in range(2))
        text = _text(input_ids, inputs_embeds, attention_mask, position_ids, token_type_ids, inputs)
        states = encode(run, pair, text, source)
        if labels is not None:
            labels = ops.array(labels, "int32")
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = shifted(ops, labels, pair.start, needed_pad(self.config))
            if pair.decoder.streams is not None:
                target.ahead = []
        if decoder_attention_mask is None and decoder_input_ids is not None:
            decoder_attention_mask = target_mask(ops, pair, decoder_input_ids)
        memory = Memory(bridge(run, pair, states), attention_mask)
        given = _text(decoder_input_ids, decoder_inputs_embeds, decoder_attention_mask, decoder_position_ids)
        scores, _, _ = decode(run, pair, given, memory, None, target)
        lost = None if labels is None else loss(run, pair, scores, labels, target, num_items_in_batch)
        return _told(
            Seq2SeqLMOutput(
                lost,
                scores,
                None,
                *_kept(target),
                states,
                _tuple(source.states),
                source.seen and _tuple(source.seen.own),
            ),
            return_dict,
        )

    def encode(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        position_ids: Any = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        deterministic: bool = True,
        inputs_embeds: Any = None,
        token_type_ids: Any = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Source ids [batch, time] -> `BaseModelOutput`."""
        run, pair = self._run(deterministic), Pair.of(self.config)
        attention_mask = source_mask(run.ops, pair, input_ids, attention_mask)
        record = asked(output_hidden_states, output_attentions)
        states = encode(
            run, pair, _text(input_ids, inputs_embeds, attention_mask, position_ids, token_type_ids, inputs), record
        )
        seen = None if record.seen is None else _tuple(record.seen.own)
        return _told(BaseModelOutput(states, _tuple(record.states), seen), return_dict)

    def decode(
        self,
        decoder_input_ids: Any,
        encoder_hidden_states: Any,
        encoder_attention_mask: Any = None,
        decoder_attention_mask: Any = None,
        decoder_position_ids: Any = None,
        past_key_values: Any = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        deterministic: bool = True,
    ) -> Any:
        """Target ids [batch, target_time] -> `CausalLMOutputWithCrossAttentions`; with `past_key_values`, as
        `init_cache` makes them, the ids are those after the past, and the output has the cache with them."""
        run, pair = self._run(deterministic), Pair.of(self.config)
        cache = memory = None
        if past_key_values is not None:
            cache = Cache(past_key_values["layers"], past_key_values["index"])
            memory = Memory(None, encoder_attention_mask, past_key_values["memory"])
        elif decoder_attention_mask is None:
            decoder_attention_mask = target_mask(run.ops, pair, decoder_input_ids)
        if memory is None:
            memory = Memory(bridge(run, pair, encoder_hidden_states), encoder_attention_mask)
        record = asked(output_hidden_states, output_attentions)
        text = _text(decoder_input_ids, None, decoder_attention_mask, decoder_position_ids)
        scores, _, kept = decode(run, pair, text, memory, cache, record)
        past = None
        if kept is not None:
            past = {"layers": kept.layers, "index": kept.past, "memory": past_key_values["memory"]}
        return _told(CausalLMOutputWithCrossAttentions(None, scores, past, *_kept(record)), return_dict)

    def cache(self, encoder_hidden_states: Any, max_length: int) -> Any:
        """Room for `max_length` tokens of each row, and what the decoder makes of the encoder's states."""
        run, pair = self._run(True), Pair.of(self.config)
        rows = encoder_hidden_states.shape[0]
        empty = empty_cache(run.ops, pair.decoder, rows, max_length, jnp.dtype(self.dtype).name)
        kept = remembered(run.under("decoder"), pair.decoder, bridge(run, pair, encoder_hidden_states))
        return {"layers": empty.layers, "index": jnp.zeros((), jnp.int32), "memory": kept}


def initial(config: EncoderDecoderConfig, leaf: Leaf) -> Initial:
    """How a leaf starts: norms 1 and 0, biases and gates 0, the rest normal with the family's deviation."""
    shape = leaf.shape
    if leaf.side in ("bridge", "carried"):
        deviation = family(config.decoder.model_type).half("decoder").spec(config.decoder).deviation
        if leaf.path[-1] in ("kernel", "embedding"):
            return lambda key: deviation * jax.random.normal(key, shape, jnp.float32)
        return lambda key: jnp.full(shape, float(leaf.path[-1] == "scale"), jnp.float32)
    half = getattr(config, leaf.side)
    spec = family(half.model_type).half(leaf.side).spec(half)  # type: ignore[arg-type]
    one = leaf.written.parts[0] if leaf.written is not None else ""
    value, spread = distribution(spec, one)
    if spread:
        return lambda key: spread * jax.random.normal(key, shape, jnp.float32)
    return lambda key: jnp.full(shape, value, jnp.float32)


def needed_pad(config: EncoderDecoderConfig) -> int:
    """The padding id; ConfigurationError where nobody said it, or the first token of a target."""
    if not config.wraps:
        config.needed("decoder_start_token_id")
    return int(config.needed("pad_token_id"))


def computed_in(value: Any, dtype: Any) -> Any:
    """Floats in the type of the computation."""
    return value.astype(dtype) if jnp.issubdtype(value.dtype, jnp.floating) else value


def _text(
    ids: Any,
    embeddings: Any = None,
    mask: Any = None,
    positions: Any = None,
    token_types: Any = None,
    inputs: Mapping[str, Any] | None = None,
) -> Text:
    given = dict(inputs or {})
    everywhere = given.pop("global_attention_mask", None)
    return Text(ids, embeddings, mask, positions, token_types, everywhere, given)


def _tuple(values: list[Any] | None) -> Any:
    return None if values is None else tuple(values)


def _kept(record: Record) -> tuple[Any, Any, Any]:
    """Hidden states, attentions and cross-attentions of a decoder."""
    if record.seen is None:
        return _tuple(record.states), None, None
    return _tuple(record.states), tuple(record.seen.own), tuple(record.seen.memory) or None


def _told(output: Any, return_dict: bool) -> Any:
    return output if return_dict else output.to_tuple()
