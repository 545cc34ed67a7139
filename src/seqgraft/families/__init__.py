"""The families, each loaded when its name is asked for.

To add one: a file that declares it, an entry here, a row in the suite (`CONTRIBUTING.md`).
"""

import importlib
from dataclasses import dataclass

from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half
from seqgraft.families.graft_table import graft_table

__all__ = ["ENTRIES", "Entry", "Family", "Half", "PretrainedConfig", "entry_of", "family", "graft_table"]


@dataclass(frozen=True)
class Entry:
    """Where a family is declared, and the names of its public classes."""

    module: str
    config: str
    body: str
    """The class of the bare body: an encoder."""
    causal: str | None = None
    """The class with a language-model head: a decoder. None where the family has none."""


ENTRIES: dict[str, Entry] = {
    "bert": Entry("bert", "BertConfig", "BertModel", "BertLMHeadModel"),
    "roberta": Entry("roberta", "RobertaConfig", "RobertaModel", "RobertaForCausalLM"),
    "xlm-roberta": Entry("roberta", "XLMRobertaConfig", "XLMRobertaModel", "XLMRobertaForCausalLM"),
    "camembert": Entry("roberta", "CamembertConfig", "CamembertModel", "CamembertForCausalLM"),
    "gpt2": Entry("gpt2", "GPT2Config", "GPT2Model", "GPT2LMHeadModel"),
    "bart": Entry("bart", "BartConfig", "BartEncoder", "BartForCausalLM"),
    "llama": Entry("llama", "LlamaConfig", "LlamaModel", "LlamaForCausalLM"),
    "mistral": Entry("llama", "MistralConfig", "MistralModel", "MistralForCausalLM"),
    "qwen2": Entry("llama", "Qwen2Config", "Qwen2Model", "Qwen2ForCausalLM"),
    "qwen3": Entry("llama", "Qwen3Config", "Qwen3Model", "Qwen3ForCausalLM"),
}
"""model_type -> entry."""


def family(model_type: str) -> Family:
    """The declaration of a family.

    Raises ConfigurationError for a model_type that none declares; the message lists those that are.
    """
    if model_type not in ENTRIES:
        raise ConfigurationError(f"model_type must be one of {', '.join(sorted(ENTRIES))}, but is {model_type!r}.")
    module = importlib.import_module(f"seqgraft.families.{ENTRIES[model_type].module}")
    declared: tuple[Family, ...] = getattr(module, "FAMILIES", None) or (module.FAMILY,)
    return next(one for one in declared if one.config.model_type == model_type)


def entry_of(class_name: str) -> tuple[str, Entry] | None:
    """(model_type, entry) of the family that has a public class of this name."""
    for model_type, entry in ENTRIES.items():
        if class_name in (entry.config, entry.body, entry.causal):
            return model_type, entry
    return None
