"""Families of BERT's kind."""

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
)
