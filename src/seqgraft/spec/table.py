"""Canonical tensor name -> shape, computed from the spec alone.

Linear weights are (out, in). A tied output table has no row of its own: its owner is `embed.weight`. Layers that use
another layer's parameters have none either.
"""

from seqgraft.spec.attention import Attention, Norm
from seqgraft.spec.experts import Experts
from seqgraft.spec.feed_forward import FeedForward
from seqgraft.spec.stack import Head, Stack

Table = dict[str, tuple[int, ...]]


def parameters(stack: Stack) -> Table:
    """Every parameter of the stack, in the order of the computation."""
    table: Table = {"embed.weight": (stack.vocabulary, stack.embed_width)}
    if stack.positions and stack.positions.kind == "learned":
        table["positions.weight"] = (stack.positions.rows, stack.sum_width)
    if stack.streams:
        table["streams.weight"] = (stack.streams.count, stack.width)
    if stack.token_types:
        table["token_types.weight"] = (stack.token_types, stack.sum_width)
    for constant in stack.constants:
        table[f"constants.{constant.name}.weight"] = (constant.rows, constant.width or stack.sum_width)
    if stack.embed_norm:
        _norm(table, "embed_norm", stack.embed_norm, stack.sum_width)
    if stack.narrow:
        joined = sum(constant.width or 0 for constant in stack.joined)
        _linear(table, "widen", stack.width, stack.narrow.width + joined, stack.narrow.bias)
    if stack.position_bias:
        table["position_bias.weight"] = (stack.position_bias.count, stack.layers[0].self_attention.heads)
    if stack.distances and stack.distances.kind == "learned" and stack.distances.span:
        table["distances.weight"] = (2 * stack.distances.span, stack.width)
    if stack.distances_norm:
        _norm(table, "distances_norm", stack.distances_norm, stack.width)
    if stack.prefix:
        blocks: tuple[str, ...] = stack.prefix.blocks
        for name in blocks:
            own: Attention = getattr(stack.layers[0], name)
            made = 2 * len(stack.layers) * own.key_value_heads * own.head_width
            table[f"prefixes.{name}.embed.weight"] = (stack.prefix.length, stack.width)
            _linear(table, f"prefixes.{name}.up", stack.prefix.inner, stack.width, True)
            _linear(table, f"prefixes.{name}.down", made, stack.prefix.inner, True)
    for i in stack.owners:
        layer = stack.layers[i]
        if layer.inserted:
            at = f"layers.{i}.inserted"
            _attention(table, f"{at}.cross_attention", layer.inserted.cross_attention, stack.width)
            _norm(table, f"{at}.cross_attention_norm", layer.inserted.norm, stack.width)
            _feed_forward(table, f"{at}.feed_forward", layer.inserted.feed_forward, stack.width)
            _norm(table, f"{at}.feed_forward_norm", layer.inserted.norm, stack.width)
            if layer.inserted.gate:
                table[f"{at}.gate"] = (1,)
        for block in ("self_attention", "cross_attention", "feed_forward"):
            part = getattr(layer, block)
            if isinstance(part, Attention):
                _attention(table, f"layers.{i}.{block}", part, stack.width)
            elif isinstance(part, (FeedForward, Experts)):
                _feed_forward(table, f"layers.{i}.{block}", part, stack.width)
            for name in layer.norms:
                if name.startswith(block):
                    _norm(table, f"layers.{i}.{name}", layer.norm, stack.width)
        if layer.adapter:
            _linear(table, f"layers.{i}.adapter.up", layer.adapter.width, stack.width, True)
            _linear(table, f"layers.{i}.adapter.down", stack.width, layer.adapter.width, True)
            if layer.adapter.norm == "own":
                _norm(table, f"layers.{i}.adapter_norm", layer.norm, stack.width)
    if stack.convolution:
        part = stack.width // stack.convolution.groups
        table["convolution.weight"] = (stack.width, part, stack.convolution.kernel)
        table["convolution.bias"] = (stack.width,)
        _norm(table, "convolution_norm", stack.layers[0].norm, stack.width)
    if stack.final_norm:
        _norm(table, "final_norm", stack.final_norm, stack.width)
    if stack.narrow and stack.narrow.back:
        _linear(table, "narrow_again", stack.narrow.width, stack.width, False)
    if stack.head:
        _head(table, stack.head, stack)
    return table


def waiting(stack: Stack) -> dict[str, str]:
    """Parameters that a pass over ids and a mask alone does not train -> the input of a call that reaches them."""
    read = {
        f"constants.{constant.name}.weight": constant.given or ""
        for constant in stack.constants
        if constant.width is not None or constant.times == 0
    }
    for name in parameters(stack):
        if ".everywhere." in name:
            read[name] = "global_attention_mask"
        elif ".disentangled.segment" in name:
            read[name] = "token_type_ids"
    return read


def _linear(table: Table, name: str, out: int, into: int, bias: bool) -> None:
    table[f"{name}.weight"] = (out, into)
    if bias:
        table[f"{name}.bias"] = (out,)


def _norm(table: Table, name: str, norm: Norm, width: int) -> None:
    if norm.weight:
        table[f"{name}.weight"] = (width,)
    if norm.bias:
        table[f"{name}.bias"] = (width,)


def _attention(table: Table, name: str, a: Attention, width: int) -> None:
    memory = a.memory_width or width
    queries, keys = a.heads * a.head_width, a.key_value_heads * a.head_width
    _linear(table, f"{name}.query", queries, width, a.input_bias)
    _linear(table, f"{name}.key", keys, memory, a.biases[1])
    _linear(table, f"{name}.value", keys, memory, a.input_bias)
    _linear(table, f"{name}.output", width, queries, a.output_bias)
    if a.head_norm:
        for part, heads in (("query", a.heads), ("key", a.key_value_heads)):
            width = heads * a.head_width if a.head_norm_spans == "all" else a.head_width
            if a.head_norm_spans == "apart":
                for head in range(heads):
                    _norm(table, f"{name}.{part}_norm.{head}", a.head_norm, width)
                continue
            _norm(table, f"{name}.{part}_norm", a.head_norm, width)
            if a.head_norm_spans == "each":
                table[f"{name}.{part}_norm.weight"] = (heads, width)
    if a.everywhere:
        for part in ("query", "key", "value"):
            _linear(table, f"{name}.everywhere.{part}", queries, width, a.input_bias)
    if a.relative:
        _linear(table, f"{name}.relative", a.relative.count * a.heads, width, True)
    if a.buckets:
        table[f"{name}.position_bias.weight"] = (a.buckets.count, a.heads)
    if a.disentangled and not a.disentangled.shared:
        if a.disentangled.content_to_position:
            _linear(table, f"{name}.disentangled.key", queries, width, a.disentangled.key_bias)
        if a.disentangled.position_to_content:
            _linear(table, f"{name}.disentangled.query", queries, width, True)
    if a.disentangled and a.disentangled.query_biases:
        for part in ("content_bias", "position_bias", "segment_bias")[: 3 if a.disentangled.segments else 2]:
            table[f"{name}.disentangled.{part}"] = (a.heads, a.head_width)
    if a.disentangled and a.disentangled.segments:
        table[f"{name}.disentangled.segments"] = (2, a.heads, a.head_width)
    if a.sink:
        table[f"{name}.sink"] = (a.heads,)
    if a.gate:
        table[f"{name}.gate"] = (1,)


def _feed_forward(table: Table, name: str, f: FeedForward | Experts, width: int) -> None:
    if isinstance(f, Experts):
        _linear(table, f"{name}.router", f.count, width, f.router_bias)
        for expert in range(f.count):
            _feed_forward(table, f"{name}.experts.{expert}", f.each, width)
        return
    _linear(table, f"{name}.up", f.width, width, f.bias)
    if f.gated:
        _linear(table, f"{name}.gate", f.width, width, f.bias)
    _linear(table, f"{name}.down", width, f.width, f.biases[1])


def _head(table: Table, head: Head, stack: Stack) -> None:
    into = stack.state_width
    if head.transform:
        into = head.transform.width or stack.state_width
        _linear(table, "head.dense", into, stack.state_width, head.transform.bias)
        if head.transform.norm:
            _norm(table, "head.norm", head.transform.norm, into)
    if not head.tied:
        table["head.output.weight"] = (stack.vocabulary, into)
    if head.bias:
        table["head.output.bias"] = (stack.vocabulary,)
