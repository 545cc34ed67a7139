"""The families, each loaded when its name is asked for.

To add one: a file that declares it, an entry here, a row in the suite (`CONTRIBUTING.md`).
"""

import importlib
from dataclasses import dataclass

from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half, Whole
from seqgraft.families.graft_table import graft_table

__all__ = [
    "ALIASES",
    "ENTRIES",
    "Entry",
    "Family",
    "Half",
    "PretrainedConfig",
    "Whole",
    "entry_of",
    "family",
    "graft_table",
]


@dataclass(frozen=True)
class Entry:
    """Where a family is declared, and the names of its public classes."""

    module: str
    config: str
    body: str | None
    """The class of the bare body: an encoder. None where the family has none."""
    causal: str | None = None
    """The class with a language-model head: a decoder. None where the family has none."""
    whole: str | None = None
    """The class of both halves, where the family was published as an encoder-decoder."""


ENTRIES: dict[str, Entry] = {
    "bert": Entry("bert", "BertConfig", "BertModel", "BertLMHeadModel"),
    "roberta": Entry("roberta", "RobertaConfig", "RobertaModel", "RobertaForCausalLM"),
    "xlm-roberta": Entry("roberta", "XLMRobertaConfig", "XLMRobertaModel", "XLMRobertaForCausalLM"),
    "camembert": Entry("roberta", "CamembertConfig", "CamembertModel", "CamembertForCausalLM"),
    "gpt2": Entry("gpt2", "GPT2Config", "GPT2Model", "GPT2LMHeadModel"),
    "gpt_bigcode": Entry("gpt_bigcode", "GPTBigCodeConfig", "GPTBigCodeModel", "GPTBigCodeForCausalLM"),
    "openai-gpt": Entry("openai_gpt", "OpenAIGPTConfig", "OpenAIGPTModel", "OpenAIGPTLMHeadModel"),
    "ctrl": Entry("ctrl", "CTRLConfig", "CTRLModel", "CTRLLMHeadModel"),
    "gpt_neo": Entry("gpt_neo", "GPTNeoConfig", "GPTNeoModel", "GPTNeoForCausalLM"),
    "gptj": Entry("gptj", "GPTJConfig", "GPTJModel", "GPTJForCausalLM"),
    "gpt_neox": Entry("gpt_neox", "GPTNeoXConfig", "GPTNeoXModel", "GPTNeoXForCausalLM"),
    "opt": Entry("opt", "OPTConfig", "OPTModel", "OPTForCausalLM"),
    "biogpt": Entry("biogpt", "BioGptConfig", "BioGptModel", "BioGptForCausalLM"),
    "xglm": Entry("xglm", "XGLMConfig", "XGLMModel", "XGLMForCausalLM"),
    "bloom": Entry("bloom", "BloomConfig", "BloomModel", "BloomForCausalLM"),
    "mpt": Entry("mpt", "MptConfig", "MptModel", "MptForCausalLM"),
    "modernbert-decoder": Entry(
        "modernbert_decoder", "ModernBertDecoderConfig", "ModernBertDecoderModel", "ModernBertDecoderForCausalLM"
    ),
    "mixtral": Entry("mixtral", "MixtralConfig", "MixtralModel", "MixtralForCausalLM"),
    "gpt_oss": Entry("gpt_oss", "GptOssConfig", "GptOssModel", "GptOssForCausalLM"),
    "falcon": Entry("falcon", "FalconConfig", "FalconModel", "FalconForCausalLM"),
    "bart": Entry("bart", "BartConfig", "BartEncoder", "BartForCausalLM", "BartForConditionalGeneration"),
    "plbart": Entry("bart", "PLBartConfig", "PLBartEncoder", "PLBartForCausalLM", "PLBartForConditionalGeneration"),
    "mvp": Entry("bart", "MvpConfig", "MvpEncoder", "MvpForCausalLM", "MvpForConditionalGeneration"),
    "blenderbot-small": Entry(
        "bart",
        "BlenderbotSmallConfig",
        "BlenderbotSmallEncoder",
        "BlenderbotSmallForCausalLM",
        "BlenderbotSmallForConditionalGeneration",
    ),
    "mbart": Entry("mbart", "MBartConfig", "MBartEncoder", "MBartForCausalLM", "MBartForConditionalGeneration"),
    "pegasus": Entry(
        "mbart", "PegasusConfig", "PegasusEncoder", "PegasusForCausalLM", "PegasusForConditionalGeneration"
    ),
    "m2m_100": Entry("mbart", "M2M100Config", "M2M100Encoder", None, "M2M100ForConditionalGeneration"),
    "blenderbot": Entry(
        "mbart", "BlenderbotConfig", "BlenderbotEncoder", "BlenderbotForCausalLM", "BlenderbotForConditionalGeneration"
    ),
    "bigbird_pegasus": Entry(
        "mbart",
        "BigBirdPegasusConfig",
        "BigBirdPegasusEncoder",
        "BigBirdPegasusForCausalLM",
        "BigBirdPegasusForConditionalGeneration",
    ),
    "prophetnet": Entry(
        "prophetnet",
        "ProphetNetConfig",
        "ProphetNetEncoder",
        "ProphetNetForCausalLM",
        "ProphetNetForConditionalGeneration",
    ),
    "t5gemma": Entry("t5gemma", "T5GemmaConfig", "T5GemmaEncoderModel", None, "T5GemmaForConditionalGeneration"),
    "trocr": Entry("trocr", "TrOCRConfig", None, "TrOCRForCausalLM"),
    "marian": Entry("marian", "MarianConfig", "MarianEncoder", "MarianForCausalLM", "MarianMTModel"),
    "t5": Entry("t5", "T5Config", "T5EncoderModel", None, "T5ForConditionalGeneration"),
    "mt5": Entry("t5", "MT5Config", "MT5EncoderModel", None, "MT5ForConditionalGeneration"),
    "umt5": Entry("t5", "UMT5Config", "UMT5EncoderModel", None, "UMT5ForConditionalGeneration"),
    "llama": Entry("llama", "LlamaConfig", "LlamaModel", "LlamaForCausalLM"),
    "mistral": Entry("llama", "MistralConfig", "MistralModel", "MistralForCausalLM"),
    "qwen2": Entry("llama", "Qwen2Config", "Qwen2Model", "Qwen2ForCausalLM"),
    "qwen3": Entry("llama", "Qwen3Config", "Qwen3Model", "Qwen3ForCausalLM"),
    "gemma": Entry("gemma", "GemmaConfig", "GemmaModel", "GemmaForCausalLM"),
    "gemma2": Entry("gemma", "Gemma2Config", "Gemma2Model", "Gemma2ForCausalLM"),
    "gemma3_text": Entry("gemma", "Gemma3TextConfig", "Gemma3TextModel", "Gemma3ForCausalLM"),
    "phi": Entry("phi", "PhiConfig", "PhiModel", "PhiForCausalLM"),
    "phi3": Entry("phi3", "Phi3Config", "Phi3Model", "Phi3ForCausalLM"),
    "glm4": Entry("phi3", "Glm4Config", "Glm4Model", "Glm4ForCausalLM"),
    "olmo2": Entry("olmo", "Olmo2Config", "Olmo2Model", "Olmo2ForCausalLM"),
    "olmo3": Entry("olmo", "Olmo3Config", "Olmo3Model", "Olmo3ForCausalLM"),
    "exaone4": Entry("olmo", "Exaone4Config", "Exaone4Model", "Exaone4ForCausalLM"),
    "granite": Entry("granite", "GraniteConfig", "GraniteModel", "GraniteForCausalLM"),
    "smollm3": Entry("granite", "SmolLM3Config", "SmolLM3Model", "SmolLM3ForCausalLM"),
    "helium": Entry("granite", "HeliumConfig", "HeliumModel", "HeliumForCausalLM"),
    "seed_oss": Entry("granite", "SeedOssConfig", "SeedOssModel", "SeedOssForCausalLM"),
    "cohere": Entry("cohere", "CohereConfig", "CohereModel", "CohereForCausalLM"),
    "starcoder2": Entry("starcoder2", "Starcoder2Config", "Starcoder2Model", "Starcoder2ForCausalLM"),
    "nanochat": Entry("nanochat", "NanoChatConfig", "NanoChatModel", "NanoChatForCausalLM"),
    "stablelm": Entry("starcoder2", "StableLmConfig", "StableLmModel", "StableLmForCausalLM"),
    "ernie": Entry("ernie", "ErnieConfig", "ErnieModel", "ErnieForCausalLM"),
    "layoutlm": Entry("ernie", "LayoutLMConfig", "LayoutLMModel"),
    "splinter": Entry("ernie", "SplinterConfig", "SplinterModel"),
    "bert-generation": Entry(
        "bert_generation", "BertGenerationConfig", "BertGenerationEncoder", "BertGenerationDecoder"
    ),
    "megatron-bert": Entry("bert_prenorm", "MegatronBertConfig", "MegatronBertModel", "MegatronBertForCausalLM"),
    "roberta-prelayernorm": Entry(
        "bert_prenorm", "RobertaPreLayerNormConfig", "RobertaPreLayerNormModel", "RobertaPreLayerNormForCausalLM"
    ),
    "xlm-roberta-xl": Entry("bert_prenorm", "XLMRobertaXLConfig", "XLMRobertaXLModel", "XLMRobertaXLForCausalLM"),
    "data2vec-text": Entry("roberta_kin", "Data2VecTextConfig", "Data2VecTextModel", "Data2VecTextForCausalLM"),
    "ibert": Entry("roberta_kin", "IBertConfig", "IBertModel"),
    "luke": Entry("roberta_kin", "LukeConfig", "LukeModel"),
    "electra": Entry("narrow", "ElectraConfig", "ElectraModel", "ElectraForCausalLM"),
    "rembert": Entry("narrow", "RemBertConfig", "RemBertModel", "RemBertForCausalLM"),
    "roformer": Entry("narrow", "RoFormerConfig", "RoFormerModel", "RoFormerForCausalLM"),
    "roc_bert": Entry("roc_bert", "RoCBertConfig", "RoCBertModel", "RoCBertForCausalLM"),
    "albert": Entry("albert", "AlbertConfig", "AlbertModel"),
    "distilbert": Entry("distilbert", "DistilBertConfig", "DistilBertModel"),
    "mpnet": Entry("mpnet", "MPNetConfig", "MPNetModel"),
    "xmod": Entry("xmod", "XmodConfig", "XmodModel", "XmodForCausalLM"),
    "esm": Entry("esm", "EsmConfig", "EsmModel"),
    "xlm": Entry("xlm", "XLMConfig", "XLMModel"),
    "flaubert": Entry("xlm", "FlaubertConfig", "FlaubertModel"),
    "eurobert": Entry("eurobert", "EuroBertConfig", "EuroBertModel"),
    "modernbert": Entry("modernbert", "ModernBertConfig", "ModernBertModel"),
    "gte": Entry("rotary_bert", "GteConfig", "GteModel"),
    "nomic_bert": Entry("rotary_bert", "NomicBertConfig", "NomicBertModel"),
    "jina_embeddings_v3": Entry("rotary_bert", "JinaEmbeddingsV3Config", "JinaEmbeddingsV3Model"),
    "longformer": Entry("longformer", "LongformerConfig", "LongformerModel"),
    "big_bird": Entry("big_bird", "BigBirdConfig", "BigBirdModel", "BigBirdForCausalLM"),
    "deberta": Entry("deberta", "DebertaConfig", "DebertaModel"),
    "xlnet": Entry("xlnet", "XLNetConfig", "XLNetModel", "XLNetLMHeadModel"),
    "deberta-v2": Entry("deberta", "DebertaV2Config", "DebertaV2Model"),
}
"""model_type -> entry."""

ALIASES = {"gpt-sw3": "gpt2"}
"""model_type -> the family that it names: GPT-SW3 (Ekgren et al. 2024) is GPT-2 with another vocabulary."""


def family(model_type: str) -> Family:
    """The declaration of a family.

    Raises ConfigurationError for a model_type that none declares; the message lists those that are.
    """
    if not isinstance(model_type, str) or model_type not in ENTRIES:
        raise ConfigurationError(f"model_type must be one of {', '.join(sorted(ENTRIES))}, but is {model_type!r}.")
    module = importlib.import_module(f"seqgraft.families.{ENTRIES[model_type].module}")
    declared: tuple[Family, ...] = getattr(module, "FAMILIES", None) or (module.FAMILY,)
    return next(one for one in declared if one.config.model_type == model_type)


def entry_of(class_name: str) -> tuple[str, Entry] | None:
    """(model_type, entry) of the family that has a public class of this name."""
    for model_type, entry in ENTRIES.items():
        if class_name in (entry.config, entry.body, entry.causal, entry.whole):
            return model_type, entry
    return None
