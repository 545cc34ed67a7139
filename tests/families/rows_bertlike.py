"""Families of BERT's kind."""

from functools import partial
from typing import Any

from .row import LONGEST, VOCABULARY, Row

_BERT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": LONGEST + 4,
}
_ROBERTA = {**_BERT, "type_vocab_size": 1}
_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_DECODER = {"is_decoder": True}
_LAYOUT = {**_BERT, "max_2d_position_embeddings": 9}
_UNTIED = {"tie_word_embeddings": False}
_ROC = {
    **_BERT,
    "pronunciation_embed_dim": 6,
    "pronunciation_vocab_size": 9,
    "shape_embed_dim": 10,
    "shape_vocab_size": 11,
}
_ALBERT = {**_BERT, "embedding_size": 12, "num_hidden_layers": 4}
_XMOD = {**_ROBERTA, "languages": ["en_XX", "de_DE", "ro_RO"], "default_language": "de_DE"}
_ESM = {**_BERT, "pad_token_id": 1, "mask_token_id": 56}
_XLM = {"vocab_size": VOCABULARY, "emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": LONGEST}
_XLM_DROPOUTS = ("dropout", "attention_dropout")


def _mend_esm(model: Any, both_ways: bool) -> None:
    """The reference's ESM takes embeddings for the sum of all that goes into the first layer."""
    plain = model.forward

    def forward(*args: Any, inputs_embeds: Any = None, **kwargs: Any) -> Any:
        if inputs_embeds is not None:
            told = {name: kwargs.get(name) for name in ("attention_mask", "position_ids")}
            inputs_embeds = model.embeddings(inputs_embeds=inputs_embeds, **told)
        return plain(*args, inputs_embeds=inputs_embeds, **kwargs)

    model.forward = forward


class _NoCache(dict[int, None]):
    def __missing__(self, index: int) -> None:
        return None

    def get_seq_length(self) -> int:
        return 0


def _mend_flaubert(model: Any, both_ways: bool) -> None:
    """The reference's FlauBERT with norms before its blocks asks its cache, and its attention, for what they lack."""
    plain = model.forward
    model.forward = lambda *args, **kwargs: plain(*args, cache=_NoCache(), **kwargs)
    for block in model.attentions:
        block.forward = partial(block.forward, output_attentions=True)


def _both(name: str, config: dict[str, Any], classes: str, **more: Any) -> Row:
    """A family that is encoder and decoder, its classes named in the usual way."""
    kind = name.partition("-")[0]
    return Row(name, kind, config, f"{classes}Model", f"{classes}ForCausalLM", _DECODER, dropouts=_DROPOUTS, **more)


ROWS_BERTLIKE = (
    Row(
        "ernie",
        "ernie",
        {**_BERT, "use_task_id": True},
        "ErnieModel",
        "ErnieForCausalLM",
        _DECODER,
        dropouts=_DROPOUTS,
        token_types=True,
    ),
    Row(
        "ernie-untied",
        "ernie",
        {**_BERT, **_UNTIED},
        "ErnieModel",
        "ErnieForCausalLM",
        _DECODER,
        dropouts=_DROPOUTS,
        token_types=True,
    ),
    Row("layoutlm", "layoutlm", _LAYOUT, "LayoutLMModel", dropouts=_DROPOUTS, token_types=True),
    Row(
        "splinter",
        "splinter",
        {**_BERT, "question_token_id": 5},
        "SplinterModel",
        dropouts=_DROPOUTS,
        token_types=True,
    ),
    Row(
        "bert-generation",
        "bert-generation",
        _BERT,
        "BertGenerationEncoder",
        "BertGenerationDecoder",
        _DECODER,
        dropouts=_DROPOUTS,
    ),
    Row(
        "bert-generation-untied",
        "bert-generation",
        {**_BERT, **_UNTIED, "hidden_act": "relu"},
        "BertGenerationEncoder",
        "BertGenerationDecoder",
        _DECODER,
        dropouts=_DROPOUTS,
    ),
    Row(
        "megatron-bert",
        "megatron-bert",
        _BERT,
        "MegatronBertModel",
        "MegatronBertForCausalLM",
        _DECODER,
        dropouts=_DROPOUTS,
        token_types=True,
        source=9,
    ),
    Row(
        "roberta-prelayernorm",
        "roberta-prelayernorm",
        _ROBERTA,
        "RobertaPreLayerNormModel",
        "RobertaPreLayerNormForCausalLM",
        _DECODER,
        dropouts=_DROPOUTS,
    ),
    Row(
        "xlm-roberta-xl",
        "xlm-roberta-xl",
        {**_ROBERTA, **_UNTIED},
        "XLMRobertaXLModel",
        "XLMRobertaXLForCausalLM",
        _DECODER,
        dropouts=_DROPOUTS,
    ),
    Row(
        "data2vec-text",
        "data2vec-text",
        _ROBERTA,
        "Data2VecTextModel",
        "Data2VecTextForCausalLM",
        _DECODER,
        dropouts=_DROPOUTS,
    ),
    Row("ibert", "ibert", _ROBERTA, "IBertModel", dropouts=_DROPOUTS),
    Row("luke", "luke", {**_ROBERTA, "entity_vocab_size": 7, "entity_emb_size": 6}, "LukeModel", dropouts=_DROPOUTS),
    _both("electra", {**_BERT, "embedding_size": 12}, "Electra", token_types=True),
    _both("electra-untied", {**_BERT, **_UNTIED, "embedding_size": 32}, "Electra", token_types=True),
    _both("rembert", {**_BERT, "input_embedding_size": 12, "output_embedding_size": 40}, "RemBert", token_types=True),
    _both(
        "rembert-square",
        {**_BERT, "input_embedding_size": 32, "output_embedding_size": 32},
        "RemBert",
        token_types=True,
    ),
    _both("roformer", _BERT, "RoFormer", token_types=True, positions=False),
    _both(
        "roformer-narrow",
        {**_BERT, **_UNTIED, "embedding_size": 12},
        "RoFormer",
        token_types=True,
        positions=False,
    ),
    _both("roformer-values", {**_BERT, "rotary_value": True}, "RoFormer", token_types=True, positions=False),
    _both("roc_bert", _ROC, "RoCBert", token_types=True),
    _both("roc_bert-sound", {**_ROC, **_UNTIED, "enable_shape": False}, "RoCBert", token_types=True),
    _both("roc_bert-apart", {**_ROC, "concat_input": False}, "RoCBert", token_types=True),
    Row("albert", "albert", _ALBERT, "AlbertModel", dropouts=_DROPOUTS, token_types=True),
    Row(
        "albert-groups",
        "albert",
        {**_ALBERT, "embedding_size": 32, "num_hidden_groups": 2, "inner_group_num": 2},
        "AlbertModel",
        dropouts=_DROPOUTS,
        token_types=True,
    ),
    Row(
        "distilbert",
        "distilbert",
        {
            "vocab_size": VOCABULARY,
            "dim": 32,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 44,
            "max_position_embeddings": LONGEST,
        },
        "DistilBertModel",
        dropouts=("dropout", "attention_dropout"),
    ),
    Row("mpnet", "mpnet", _BERT, "MPNetModel", dropouts=_DROPOUTS),
    _both("xmod", _XMOD, "Xmod"),
    _both("xmod-prenorm", {**_XMOD, **_UNTIED, "pre_norm": True, "adapter_reuse_layer_norm": False}, "Xmod"),
    _both(
        "xmod-normed",
        {**_XMOD, "adapter_layer_norm": True, "ln_before_adapter": False, "adapter_reduction_factor": 4},
        "Xmod",
    ),
    Row(
        "esm",
        "esm",
        {**_ESM, "emb_layer_norm_before": True},
        "EsmModel",
        dropouts=_DROPOUTS,
        shows_padding=False,
        mend=_mend_esm,
    ),
    Row(
        "esm-rotary",
        "esm",
        {**_ESM, "position_embedding_type": "rotary", "token_dropout": True},
        "EsmModel",
        dropouts=_DROPOUTS,
        positions=False,
        shows_padding=False,
    ),
    Row("xlm", "xlm", {**_XLM, "n_langs": 3}, "XLMModel", dropouts=_XLM_DROPOUTS, shows_padding=False),
    Row("flaubert", "flaubert", _XLM, "FlaubertModel", dropouts=_XLM_DROPOUTS, shows_padding=False),
    Row(
        "flaubert-languages",
        "flaubert",
        {**_XLM, "n_langs": 2},
        "FlaubertModel",
        dropouts=_XLM_DROPOUTS,
        shows_padding=False,
    ),
    Row(
        "flaubert-prenorm",
        "flaubert",
        {**_XLM, "pre_norm": True, "gelu_activation": False},
        "FlaubertModel",
        dropouts=_XLM_DROPOUTS,
        mend=_mend_flaubert,
        shows_padding=False,
    ),
)
