"""Seqgraft: any pretrained encoder in front of any pretrained decoder.

Public names are loaded on first use, so that `import seqgraft` imports no framework.
"""

import importlib
import importlib.util
from typing import Any

__version__ = "0.1.0"

_ROOMS: dict[str, str] = {
    "config": "AutoConfig EncoderDecoderConfig",
    "families.configuration": "PretrainedConfig",
    "flax.model": "FlaxEncoderDecoderModel",
    "spec": "Graft",
    "generation": "BaseStreamer EosTokenCriteria GenerationConfig MaxLengthCriteria MaxTimeCriteria "
    "QuantizedCacheConfig StoppingCriteria StoppingCriteriaList TextIteratorStreamer TextStreamer WatermarkingConfig",
    "generation.constraints": "Constraint ConstraintListState DisjunctiveConstraint PhrasalConstraint",
    "generation.outputs": "BaseModelOutput BaseModelOutputWithPooling CausalLMOutputWithCrossAttentions "
    "GenerateAssistedDecoderOnlyOutput GenerateAssistedEncoderDecoderOutput "
    "GenerateBeamDecoderOnlyOutput GenerateBeamEncoderDecoderOutput GenerateDecoderOnlyOutput "
    "GenerateEncoderDecoderOutput ModelOutput Seq2SeqLMOutput",
    "text": "AutoTokenizer BartTokenizer BartTokenizerFast BatchEncoding BertTokenizer BertTokenizerFast "
    "CamembertTokenizer CamembertTokenizerFast GPT2Tokenizer GPT2TokenizerFast LlamaTokenizer LlamaTokenizerFast "
    "M2M100Tokenizer MBart50Tokenizer MBart50TokenizerFast MBartTokenizer MBartTokenizerFast NllbTokenizer "
    "NllbTokenizerFast PLBartTokenizer PairTokenizer PreTrainedTokenizer PreTrainedTokenizerFast Qwen2Tokenizer "
    "Qwen2TokenizerFast RobertaTokenizer RobertaTokenizerFast XLMRobertaTokenizer XLMRobertaTokenizerFast",
    "tensorflow.model": "TFEncoderDecoderModel",
    "torch.auto": "AutoModel AutoModelForCausalLM AutoModelForSeq2SeqLM",
    "torch.cache": "EncoderDecoderCache",
    "torch.cache_quantized": "QuantizedCache",
    "torch.model": "EncoderDecoderModel",
    "torch.processors": "EncoderNoRepeatNGramLogitsProcessor EncoderRepetitionPenaltyLogitsProcessor "
    "EpsilonLogitsWarper EtaLogitsWarper ExponentialDecayLengthPenalty "
    "ForcedBOSTokenLogitsProcessor ForcedEOSTokenLogitsProcessor HammingDiversityLogitsProcessor "
    "InfNanRemoveLogitsProcessor LogitNormalization LogitsProcessor LogitsProcessorList "
    "MinLengthLogitsProcessor MinNewTokensLengthLogitsProcessor MinPLogitsWarper "
    "NoBadWordsLogitsProcessor NoRepeatNGramLogitsProcessor PrefixConstrainedLogitsProcessor "
    "RepetitionPenaltyLogitsProcessor SequenceBiasLogitsProcessor "
    "SuppressTokensAtBeginLogitsProcessor SuppressTokensLogitsProcessor TemperatureLogitsWarper "
    "TopHLogitsWarper TopKLogitsWarper TopPLogitsWarper TypicalLogitsWarper WatermarkDetector "
    "WatermarkDetectorOutput WatermarkLogitsProcessor",
    "torch.stop_strings": "StopStringCriteria",
    "training.collator": "DataCollatorForSeq2Seq",
    "pipelines": "SummarizationPipeline Text2TextGenerationPipeline TranslationPipeline pipeline",
}
_PLACES = {name: room for room, names in _ROOMS.items() for name in names.split()}
_EXTRAS = {"tensorflow": ("tensorflow", "keras"), "flax": ("jax", "flax")}
"""Room, and extra of the same name -> what it brings."""


def _families() -> dict[str, str]:
    from seqgraft.families import ENTRIES

    places = {}
    for entry in ENTRIES.values():
        places[entry.config] = f"families.{entry.module}"
        places |= {name: "torch.auto" for name in (entry.body, entry.causal, entry.whole) if name}
    return places


def __getattr__(name: str) -> Any:
    room = _PLACES.get(name) or (_families().get(name) if name[:1].isupper() else None)
    if room is None:
        raise AttributeError(f"module 'seqgraft' has no attribute '{name}'")
    try:
        value = getattr(importlib.import_module(f"seqgraft.{room}"), name)
    except ModuleNotFoundError as error:
        extra, missing = room.partition(".")[0], str(error.name).partition(".")[0]
        if missing not in _EXTRAS.get(extra, ()):
            raise
        from seqgraft.errors import MissingExtraError

        raise MissingExtraError(f"{name} needs {missing}: pip install 'seqgraft[{extra}]'.") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    found = {extra for extra, brought in _EXTRAS.items() if all(importlib.util.find_spec(one) for one in brought)}
    absent = {name for name, room in _PLACES.items() if room.partition(".")[0] in {*_EXTRAS} - found}
    return sorted({*globals(), *_PLACES, *_families()} - absent)
