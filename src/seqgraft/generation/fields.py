"""The published fields of a generation configuration (transformers 5.23): which work here, and what unset ones mean.

Every field is None until someone sets it, so that a call, a configuration given to the call, and the model's own
configuration can be laid over one another; `DEFAULTS` is what remains None at the end.
"""

from typing import Any

SUPPORTED = (
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "early_stopping",
    "max_time",
    "stop_strings",
    "do_sample",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "constraints",
    "force_words_ids",
    "penalty_alpha",
    "guidance_scale",
    "low_memory",
    "use_cache",
    "cache_implementation",
    "cache_config",
    "compile_config",
    "disable_compile",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "top_h",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "encoder_repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "sequence_bias",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "exponential_decay_length_penalty",
    "remove_invalid_values",
    "renormalize_logits",
    "watermarking_config",
    "num_return_sequences",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "prompt_lookup_num_tokens",
    "max_matching_ngram_size",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
)

# Kept and written back; an error at generate time when they differ from these values, which mean "off".
UNSUPPORTED: dict[str, Any] = {
    "use_mtp": False,
    "max_cache_len": None,
    "token_healing": False,
    "is_assistant": False,
    "assistant_early_exit": None,
    "assistant_lookbehind": 10,
    "target_lookbehind": 10,
    "assistant_ensemble_weight": None,
    "speculation_type": None,
    "continuous_batching_config": None,
    "dola_layers": None,
    "prefill_chunk_size": None,
}

PUBLISHED = (*SUPPORTED, *UNSUPPORTED)

DEFAULTS: dict[str, Any] = {
    "min_length": 0,
    "early_stopping": False,
    "do_sample": False,
    "num_beams": 1,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "penalty_alpha": 0.0,
    "low_memory": False,
    "use_cache": True,
    "disable_compile": False,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "remove_invalid_values": False,
    "renormalize_logits": False,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "output_logits": False,
    "return_dict_in_generate": False,
}

DEFAULT_NEW_TOKENS = 20

# Written into files for the reader's information, and no settings.
METADATA = ("transformers_version", "_from_model_config")

# What only sampling or only beams read, and the value that says nothing.
SAMPLING_ONLY = {
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "min_p": None,
    "top_h": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
BEAMS_ONLY = {"early_stopping": False, "length_penalty": 1.0}
EXTRA_OUTPUTS = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")

# Arguments of `generate` that the field's users know; they are no settings.
ARGUMENTS = (
    "logits_processor",
    "stopping_criteria",
    "prefix_allowed_tokens_fn",
    "synced_gpus",
    "assistant_model",
    "tokenizer",
    "assistant_tokenizer",
    "streamer",
    "negative_prompt_ids",
    "negative_prompt_attention_mask",
)
