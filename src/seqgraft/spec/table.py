"""Canonical tensor name -> shape, computed from the spec alone.

Linear weights are (out, in). A tied output table has no row of its own: its owner is `embed.weight`.
"""

from seqgraft.spec.stack import Attention, FeedForward, Head, Norm, Stack

Table = dict[str, tuple[int, ...]]


def parameters(stack: Stack) -> Table:
    """Every parameter of the stack, in the order of the computation."""
    table: Table = {"embed.weight": (stack.vocabulary, stack.width)}
    if stack.positions:
        table["positions.weight"] = (stack.positions.rows, stack.width)
    if stack.token_types:
        table["token_types.weight"] = (stack.token_types, stack.width)
    if stack.embed_norm:
        _norm(table, "embed_norm", stack.embed_norm, stack.width)
    for i, layer in enumerate(stack.layers):
        for block in ("self_attention", "cross_attention"):
            part = getattr(layer, block)
            if part is not None:
                _attention(table, f"layers.{i}.{block}", part, stack.width)
                _norm(table, f"layers.{i}.{block}_norm", layer.norm, stack.width)
        _feed_forward(table, f"layers.{i}.feed_forward", layer.feed_forward, stack.width)
        _norm(table, f"layers.{i}.feed_forward_norm", layer.norm, stack.width)
    if stack.final_norm:
        _norm(table, "final_norm", stack.final_norm, stack.width)
    if stack.head:
        _head(table, stack.head, stack)
    return table


def _linear(table: Table, name: str, out: int, into: int, bias: bool) -> None:
    table[f"{name}.weight"] = (out, into)
    if bias:
        table[f"{name}.bias"] = (out,)


def _norm(table: Table, name: str, norm: Norm, width: int) -> None:
    table[f"{name}.weight"] = (width,)
    if norm.bias:
        table[f"{name}.bias"] = (width,)


def _attention(table: Table, name: str, a: Attention, width: int) -> None:
    memory = a.memory_width or width
    _linear(table, f"{name}.query", a.heads * a.head_width, width, a.input_bias)
    _linear(table, f"{name}.key", a.key_value_heads * a.head_width, memory, a.input_bias)
    _linear(table, f"{name}.value", a.key_value_heads * a.head_width, memory, a.input_bias)
    _linear(table, f"{name}.output", width, a.heads * a.head_width, a.output_bias)
    if a.head_norm:
        _norm(table, f"{name}.query_norm", a.head_norm, a.head_width)
        _norm(table, f"{name}.key_norm", a.head_norm, a.head_width)
    if a.gate:
        table[f"{name}.gate"] = (1,)


def _feed_forward(table: Table, name: str, f: FeedForward, width: int) -> None:
    _linear(table, f"{name}.up", f.width, width, f.bias)
    if f.gated:
        _linear(table, f"{name}.gate", f.width, width, f.bias)
    _linear(table, f"{name}.down", width, f.width, f.bias)


def _head(table: Table, head: Head, stack: Stack) -> None:
    if head.transform:
        _linear(table, "head.dense", stack.width, stack.width, True)
        _norm(table, "head.norm", head.transform.norm, stack.width)
    if not head.tied:
        table["head.output.weight"] = (stack.vocabulary, stack.width)
    if head.bias:
        table["head.output.bias"] = (stack.vocabulary,)
