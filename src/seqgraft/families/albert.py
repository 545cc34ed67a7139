"""ALBERT (Lan et al. 2020): BERT's body behind a narrow table, whose layers share their parameters."""

from dataclasses import replace

from seqgraft.families import bert
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename
from seqgraft.spec import Narrow, Stack

_PASSIVE = ("down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks")
"""Fields of the published files that nothing reads."""


class AlbertConfig(bert.BertConfig):
    """ALBERT's configuration; the defaults are those of `albert-xxlarge-v2`."""

    model_type = "albert"

    vocab_size: int = 30000
    embedding_size: int = 128
    hidden_size: int = 4096
    num_hidden_groups: int = 1
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    inner_group_num: int = 1
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float = 0.1
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3

    def _knows(self, name: str) -> bool:
        return super()._knows(name) or name in _PASSIVE


def _places(config: AlbertConfig) -> list[tuple[int, int]]:
    """(group, layer within the group) of every step through the stack."""
    each = config.num_hidden_layers / config.num_hidden_groups
    return [(int(i / each), k) for i in range(config.num_hidden_layers) for k in range(config.inner_group_num)]


def encoder(config: AlbertConfig) -> Stack:
    """BERT's body, the layers of one group being one and the same; nothing drops the feed-forward's output."""
    plain, places = bert.encoder(config), _places(config)
    return replace(
        plain,
        layers=(replace(plain.layers[0], feed_forward_dropout=0.0),) * len(places),
        shared=tuple(places.index(place) for place in places),
        narrow=Narrow(config.embedding_size),
    )


def _rules(config: AlbertConfig) -> tuple[Rule, ...]:
    rules = [
        *(rule for rule in bert.body_rules() if not rule.ours[0].startswith("layers.")),
        rename("encoder.embedding_hidden_mapping_in", "widen"),
    ]
    places = _places(config)
    for group, inner in dict.fromkeys(places):
        at = f"encoder.albert_layer_groups.{group}.albert_layers.{inner}"
        ours = f"layers.{places.index((group, inner))}"
        rules += [
            rename(f"{at}.attention.{part}", f"{ours}.self_attention.{part}") for part in ("query", "key", "value")
        ]
        rules += [
            rename(f"{at}.attention.dense", f"{ours}.self_attention.output"),
            rename(f"{at}.attention.LayerNorm", f"{ours}.self_attention_norm"),
            rename(f"{at}.ffn", f"{ours}.feed_forward.up"),
            rename(f"{at}.ffn_output", f"{ours}.feed_forward.down"),
            rename(f"{at}.full_layer_layer_norm", f"{ours}.feed_forward_norm"),
        ]
    return tuple(rules)


def encoder_names(config: AlbertConfig) -> Names:
    """The bare body; heads of any kind in the file are no part of it."""
    dropped = (r"position_ids$", r"^predictions\.", r"^sop_classifier\.", r"^classifier\.", r"^qa_outputs\.")
    return Names(_rules(config), prefix="albert.", dropped=dropped, carried=(r"^pooler\.",))


FAMILY = Family(AlbertConfig, Half(encoder, encoder_names), None, pooled=True, pooler="pooler")
