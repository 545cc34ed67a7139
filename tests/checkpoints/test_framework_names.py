"""Names and layouts in Flax and TensorFlow: those of every class of the originals, as stored from them."""

import pytest

from seqgraft.checkpoints.kinds import half_kinds, pair_kinds
from seqgraft.checkpoints.names_bert_release import from_bert_release
from seqgraft.checkpoints.names_flax import from_flax, to_flax
from seqgraft.checkpoints.names_tensorflow import from_tensorflow, leveled, to_tensorflow
from seqgraft.config import EncoderDecoderConfig, config_class
from seqgraft.families import family

from ..oracle import stored

LISTED = [
    (kind, name)
    for kind in ("flax", "tensorflow")
    for name, one in stored.read(f"names_{kind}").items()
    if "error" not in one
]
OTHER_HEADS = ("predictions", "lm_head", "vocab_", "generator_", "pred_layer", "cls")
"""Of classes for masked language modelling, which a pair's encoder has no head of."""
NEVER_OURS = ("pooler", "embed_positions", "contact_head", "mask_emb")
"""What nothing computes with here, and tables of sines, which are computed."""


def listing(kind, name):
    one = stored.read(f"names_{kind}")[name]
    return one, one["parameters"]


@pytest.mark.parametrize(("kind", "name"), LISTED)
def test_what_the_originals_write_has_its_published_name(kind, name):
    one, parameters = listing(kind, name)
    for theirs, (shape, holders, lies) in parameters.items():
        ours, reverse = from_flax(theirs) if kind == "flax" else from_tensorflow(theirs, leveled=True)
        told = [ours, ours.partition(".")[2], "encoder." + ours.partition(".")[2].partition(".")[2]]
        if holders:
            found = [held for held in told if held in holders]
            assert found, (theirs, ours, holders)
            if len(shape) > 1 and 1 not in shape:
                assert reverse == (lies == "turned"), theirs
                assert (shape[::-1] if reverse else shape) == one["torch"][found[0]], theirs


def kinds_of(kind, name, one):
    """(published name -> kind, model type of each) of a class of theirs; None for what is no half here."""
    fields = one["config"]
    model_type = fields.get("model_type") or one["model_type"]
    config = config_class(model_type).from_dict(fields)
    if isinstance(config, EncoderDecoderConfig):
        halves = {"encoder": config.encoder.model_type, "decoder": config.decoder.model_type}
        return pair_kinds(config, headed_encoder=kind == "tensorflow"), lambda n: halves[n.partition(".")[0]]
    declared = family(model_type)
    if declared.whole is not None and "ForCausalLM" not in name:
        body = name.endswith("Model") and "MarianMT" not in name
        kinds = pair_kinds(EncoderDecoderConfig.from_whole(config))
        kinds = {n: k for n, k in kinds.items() if not body or n not in ("final_logits_bias", "lm_head.weight")}
        if body and kind == "flax":
            kinds = {n.removeprefix("model."): k for n, k in kinds.items()}
        return kinds, lambda n: model_type
    if "CausalLM" in name or "LMHead" in name:
        if declared.decoder is None:
            return None
        config.is_decoder, config.add_cross_attention = True, "cross" in name
        return half_kinds(config, "decoder", headed=True), lambda n: model_type
    headed = kind == "tensorflow" or not name.endswith("Model")
    return half_kinds(config, "encoder", headed=headed), lambda n: model_type


@pytest.mark.parametrize(("kind", "name"), LISTED)
def test_ours_are_named_as_the_originals_name_them(kind, name):
    one, parameters = listing(kind, name)
    said = kinds_of(kind, name, one)
    if said is None:
        return
    kinds, of = said
    ours = {to_flax(n, k)[0] if kind == "flax" else to_tensorflow(n, k, of(n))[0] for n, k in kinds.items()}
    if kind == "tensorflow":
        theirs = {n if "/" not in n else n.partition("/")[2] for n in parameters}
        assert all(from_tensorflow(leveled(n), leveled=True) == from_tensorflow(n, leveled=False) for n in ours)
    else:
        theirs = set(parameters)
    if "MaskedLM" in name or "WithLMHead" in name:
        theirs = {n for n in theirs if not any(part in n for part in OTHER_HEADS)}
    theirs = {n for n in theirs if not any(part in n for part in NEVER_OURS)}
    idle = {"lm_head/kernel:0"} if name == "TFXGLMForCausalLM+cross" else set()  # of its tied head, never used
    assert ours - {n for n in ours if "embed_positions" in n} == theirs - idle - {
        n for n in theirs if "embed_positions" in n
    }


@pytest.mark.parametrize(
    ("stored_name", "published"),
    [
        ("bert/embeddings/word_embeddings", ("bert.embeddings.word_embeddings.weight", False)),
        ("bert/encoder/layer_11/attention/self/query/kernel",
         ("bert.encoder.layer.11.attention.self.query.weight", True)),
        ("bert/encoder/layer_0/output/LayerNorm/gamma", ("bert.encoder.layer.0.output.LayerNorm.weight", False)),
        ("cls/predictions/transform/dense/bias", ("cls.predictions.transform.dense.bias", False)),
        ("cls/predictions/output_bias", ("cls.predictions.bias", False)),
        ("cls/seq_relationship/output_weights", ("cls.seq_relationship.weight", False)),
        ("bert/pooler/dense/kernel/adam_m", None),
        ("global_step", None),
    ],
)  # fmt: skip
def test_the_bert_releases_names(stored_name, published):
    """The variables that google-research/bert's modeling.py and run_pretraining.py make."""
    assert from_bert_release(stored_name) == published
