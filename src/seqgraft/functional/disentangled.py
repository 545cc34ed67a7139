"""Scores of contents and distances apart (Dai et al. 2019, He et al. 2021)."""

from dataclasses import dataclass

from seqgraft.functional.ops import Array
from seqgraft.functional.run import Run
from seqgraft.spec import Attention, Disentangled


@dataclass(frozen=True)
class Apart:
    """How far queries and keys of one call are apart."""

    table: Array
    """Embeddings of distances [rows, width]."""
    rows: Array
    """Which row of it lies between a query and a key [queries, keys]."""
    other: Array | None = None
    """1 where the key's token type is another than the query's [rows, queries, keys]."""


def scores_apart(run: Run, block: Attention, spec: Disentangled, query: Array, key: Array, apart: Apart) -> Array:
    """query and key [rows, heads, queries or keys, head_width] -> scores [rows, heads, queries, keys], unscaled."""
    ops = run.ops
    own = run.under("disentangled")
    table = run.drop(apart.table, spec.dropout)
    rows = apart.rows[None, None]

    def heads(x: Array) -> Array:
        """[rows, heads * head_width] -> [1, heads, head_width, rows]"""
        return ops.transpose(ops.reshape(x, (1, ops.shape(x)[0], block.heads, block.head_width)), (0, 2, 3, 1))

    scores: Array = 0.0
    if spec.content_to_position:
        keys = heads(run.linear("key", table) if spec.shared else own.linear("key", table))
        asking = query + own.weight("position_bias")[:, None] if spec.query_biases else query
        scores = ops.gather(ops.matmul(asking, keys), rows)
    if spec.position_to_content:
        queries = heads(run.linear("query", table) if spec.shared else own.linear("query", table))
        against = ops.gather(ops.matmul(key, queries), ops.transpose(rows, (0, 1, 3, 2)))
        scores = scores + ops.transpose(against, (0, 1, 3, 2))
    if spec.segments and apart.other is not None:
        embeddings = ops.transpose(own.weight("segments"), (1, 2, 0))[None]
        each = ops.matmul(query + own.weight("segment_bias")[:, None], embeddings)
        scores = scores + ops.gather(each, apart.other[:, None])
    return scores


def of_contents(run: Run, spec: Disentangled, query: Array) -> Array:
    """query [rows, heads, queries, head_width] -> the same shape, as it meets the keys' contents."""
    return query + run.weight("disentangled.content_bias")[:, None] if spec.query_biases else query
