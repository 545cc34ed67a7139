"""From settings to processors, in the field's order."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.watermarking import WatermarkingConfig
from seqgraft.torch.processors.base import LogitsProcessorList, merged
from seqgraft.torch.processors.bias import (
    NoBadWordsLogitsProcessor,
    SequenceBiasLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
)
from seqgraft.torch.processors.diversity import HammingDiversityLogitsProcessor
from seqgraft.torch.processors.length import (
    ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
)
from seqgraft.torch.processors.prefix import Allowed, PrefixConstrainedLogitsProcessor
from seqgraft.torch.processors.repetition import (
    EncoderNoRepeatNGramLogitsProcessor,
    EncoderRepetitionPenaltyLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)
from seqgraft.torch.processors.values import InfNanRemoveLogitsProcessor, LogitNormalization
from seqgraft.torch.processors.warpers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopHLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)
from seqgraft.torch.processors.watermark import WatermarkLogitsProcessor


def build(
    config: Any,
    *,
    prompt_length: int,
    max_length: int,
    eos_token_ids: Sequence[int],
    device: Any,
    prompt_mask: Tensor | None = None,
    source_ids: Tensor | None = None,
    custom: Sequence[Any] | None = None,
    prefix_allowed_tokens_fn: Allowed | None = None,
    vocab_size: int | None = None,
) -> LogitsProcessorList:
    """The processors that a filled `GenerationConfig` asks for, in the field's order, `custom` ones in their place.

    `prompt_mask [rows, prompt_length]`: padding at the left of a prompt does not count as a repetition.
    `source_ids [sources, source_time]` in the decoder's vocabulary, `vocab_size` its tokens.
    """
    made: list[Any] = []
    if config.sequence_bias is not None:
        made.append(SequenceBiasLogitsProcessor(config.sequence_bias))
    if config.diversity_penalty > 0:
        groups = (config.diversity_penalty, config.num_beams, config.num_beam_groups)
        made.append(HammingDiversityLogitsProcessor(*groups))
    if config.encoder_repetition_penalty != 1.0:
        source = _needed(source_ids, "encoder_repetition_penalty")
        made.append(EncoderRepetitionPenaltyLogitsProcessor(config.encoder_repetition_penalty, source))
    if config.repetition_penalty != 1.0:
        padding = (prompt_mask != 0).int().argmax(dim=1) if prompt_mask is not None else None
        made.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty, padding))
    if config.no_repeat_ngram_size > 0:
        made.append(NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    if config.encoder_no_repeat_ngram_size > 0:
        source = _needed(source_ids, "encoder_no_repeat_ngram_size")
        made.append(EncoderNoRepeatNGramLogitsProcessor(config.encoder_no_repeat_ngram_size, source))
    if config.bad_words_ids is not None:
        made.append(NoBadWordsLogitsProcessor(config.bad_words_ids, eos_token_ids))
    if eos_token_ids and config.min_length > 0:
        made.append(MinLengthLogitsProcessor(config.min_length, eos_token_ids, device))
    if eos_token_ids and config.min_new_tokens:
        made.append(MinNewTokensLengthLogitsProcessor(prompt_length, config.min_new_tokens, eos_token_ids, device))
    if prefix_allowed_tokens_fn is not None:
        rows = max(config.num_beams, config.num_return_sequences)
        made.append(PrefixConstrainedLogitsProcessor(prefix_allowed_tokens_fn, config.num_beams, rows))
    if config.forced_bos_token_id is not None:
        made.append(ForcedBOSTokenLogitsProcessor(config.forced_bos_token_id))
    if config.forced_eos_token_id is not None:
        made.append(ForcedEOSTokenLogitsProcessor(max_length, config.forced_eos_token_id))
    if config.remove_invalid_values:
        made.append(InfNanRemoveLogitsProcessor())
    if config.exponential_decay_length_penalty is not None:
        if not eos_token_ids:
            raise GenerationError(
                "`exponential_decay_length_penalty` needs an `eos_token_id` to make likelier, but there is none."
            )
        decay = config.exponential_decay_length_penalty
        made.append(ExponentialDecayLengthPenalty(decay, eos_token_ids, prompt_length))
    if config.suppress_tokens is not None:
        made.append(SuppressTokensLogitsProcessor(config.suppress_tokens, device))
    if config.begin_suppress_tokens is not None:
        # The token after a forced first one counts as the first.
        first = prompt_length + (prompt_length == 1 and config.forced_bos_token_id is not None)
        made.append(SuppressTokensAtBeginLogitsProcessor(config.begin_suppress_tokens, first, device))
    made = merged(made, custom or ())
    if config.do_sample:
        keep = 1 + (max(1, len(eos_token_ids)) if config.num_beams > 1 else 0)  # one token more than can end a beam
        made += _warpers(config, keep, device)
    if config.watermarking_config is not None:
        settings = WatermarkingConfig.of(config.watermarking_config).to_dict()
        if vocab_size is None:
            raise GenerationError("`watermarking_config` needs a decoder whose `vocab_size` is known, but it is None.")
        made.append(WatermarkLogitsProcessor(vocab_size, device, **settings))
    if config.renormalize_logits:
        made.append(LogitNormalization())
    chain = LogitsProcessorList(made)
    chain.start()  # custom ones may have served before
    return chain


def _warpers(config: Any, keep: int, device: Any) -> Iterator[Any]:
    """What sampling draws from; `keep` tokens are never cut."""
    if config.temperature != 1.0:
        yield TemperatureLogitsWarper(config.temperature)
    if config.top_h is not None:
        yield TopHLogitsWarper(config.top_h)
    if config.top_k > 0:
        yield TopKLogitsWarper(config.top_k, min_tokens_to_keep=keep)
    if config.top_p < 1.0:
        yield TopPLogitsWarper(config.top_p, min_tokens_to_keep=keep)
    if config.min_p is not None:
        yield MinPLogitsWarper(config.min_p, min_tokens_to_keep=keep)
    if config.typical_p < 1.0:
        yield TypicalLogitsWarper(config.typical_p, min_tokens_to_keep=keep)
    if config.epsilon_cutoff > 0.0:
        yield EpsilonLogitsWarper(config.epsilon_cutoff, min_tokens_to_keep=keep)
    if config.eta_cutoff > 0.0:
        yield EtaLogitsWarper(config.eta_cutoff, min_tokens_to_keep=keep, device=device)


def _needed(source_ids: Tensor | None, name: str) -> Tensor:
    if source_ids is None:
        raise GenerationError(f"`{name}` needs the `input_ids` of a source, but there are none.")
    return source_ids
