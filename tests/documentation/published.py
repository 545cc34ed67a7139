"""Tiny stand-ins for the checkpoints that the documentation names, with the files and oddities of the real ones."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()

TEXT = """plants create energy through a process known as photosynthesis this involves capturing sunlight and
converting carbon dioxide water into glucose oxygen the tower is metres tall about same height an building tallest
structure in paris eiffel surpassed washington monument to become world it was first reach of now than chrysler by
second free standing really long text corresponding summary hello my dog cute pg stated scheduled blackouts response
high winds dry conditions aim reduce risk wildfires customers were be affected shutoffs which expected last least
midday tomorrow nearly thousand amid energie pflanzen durch"""
WORDS = TEXT.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}


def _vocabulary(cased: bool = False, more: tuple[str, ...] = ()) -> list[str]:
    letters = [chr(c) for c in range(33, 127) if cased or not chr(c).isupper()]
    words = [w.capitalize() for w in WORDS] + WORDS if cased else WORDS
    return list(dict.fromkeys([*SPECIAL, *more, *letters, *(f"##{letter}" for letter in letters), *words]))


def _words(folder: Path, cased: bool = False, more: tuple[str, ...] = ()) -> int:
    """vocab.txt and tokenizer_config.json as BERT's repositories have them; the size."""
    tokens = _vocabulary(cased, more)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    _json(folder / "tokenizer_config.json", {"do_lower_case": not cased, "model_max_length": 512})
    return len(tokens)


def _json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2))


def _old_names(name: str) -> str:
    if "LayerNorm" not in name:
        return name
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def bert(folder: Path, cased: bool = False) -> None:
    """`bert-base-(un)cased`: a pickle of 2018 with gamma and beta, both pretraining heads and the pooler."""
    folder.mkdir(parents=True)
    size = _words(folder, cased)
    torch.manual_seed(1)
    model = transformers.BertForPreTraining(transformers.BertConfig(vocab_size=size, **SIZES))
    weights = {_old_names(n): t.clone() for n, t in model.state_dict().items()}
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"].clone()
    weights.pop("cls.predictions.decoder.bias", None)
    torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    said = {
        "architectures": ["BertForMaskedLM"],
        "attention_probs_dropout_prob": 0.1,
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "layer_norm_eps": 1e-12,
        "model_type": "bert",
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "transformers_version": "4.6.0.dev0",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": size,
        **SIZES,
    }
    _json(folder / "config.json", said)


def gpt2(folder: Path) -> None:
    """`gpt2`: names without the body's prefix, masks stored as weights, byte-level merges."""
    folder.mkdir(parents=True)
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    backend.model.save(str(folder))
    _json(folder / "tokenizer_config.json", {"model_max_length": 1024})
    size, end = backend.get_vocab_size(), backend.token_to_id("<|endoftext|>")
    config = transformers.GPT2Config(
        vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=end, eos_token_id=end
    )
    torch.manual_seed(2)
    weights = {n: t.clone() for n, t in transformers.GPT2Model(config).state_dict().items()}
    for layer in range(2):
        weights[f"h.{layer}.attn.bias"] = torch.ones(64, 64).tril()[None, None]
    torch.save(weights, folder / "pytorch_model.bin")
    said = config.to_dict() | {"n_ctx": 64, "task_specific_params": {"text-generation": {"max_length": 50}}}
    _json(folder / "config.json", {n: v for n, v in said.items() if n not in ("dtype", "transformers_version")})


def pair(
    folder: Path, decoder: str = "bert", *, half: bool = True, more: tuple[str, ...] = (), **settings: Any
) -> None:
    """A fine-tuned pair as version 4 wrote it: generation settings in config.json, tied copies in the file."""
    folder.mkdir(parents=True)
    size = _words(folder, more=more)
    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    _json(folder / "special_tokens_map.json", dict(zip(roles, SPECIAL, strict=True)))
    own = transformers.BertConfig(vocab_size=size, **SIZES)
    other = (
        transformers.BertConfig(vocab_size=size, **SIZES)
        if decoder == "bert"
        else transformers.GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, bos_token_id=2, eos_token_id=3)
    )
    torch.manual_seed(3)
    model = transformers.EncoderDecoderModel(transformers.EncoderDecoderConfig.from_encoder_decoder_configs(own, other))
    weights = {n: (t.half() if half else t).clone() for n, t in model.state_dict().items()}
    places = torch.arange(512)[None]
    weights["encoder.embeddings.position_ids"] = places
    if decoder == "bert":
        weights["decoder.bert.embeddings.position_ids"] = places
    torch.save(weights, folder / "pytorch_model.bin")
    old = {  # what every version 4 configuration repeats
        "_name_or_path": "bert-base-uncased",
        "bad_words_ids": None,
        "chunk_size_feed_forward": 0,
        "diversity_penalty": 0.0,
        "do_sample": False,
        "early_stopping": False,
        "finetuning_task": None,
        "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
        "label2id": {"LABEL_0": 0, "LABEL_1": 1},
        "length_penalty": 1.0,
        "max_length": 20,
        "min_length": 0,
        "no_repeat_ngram_size": 0,
        "num_beams": 1,
        "num_return_sequences": 1,
        "output_attentions": False,
        "prefix": None,
        "problem_type": None,
        "pruned_heads": {},
        "repetition_penalty": 1.0,
        "return_dict": False,
        "temperature": 1.0,
        "tie_encoder_decoder": False,
        "top_k": 50,
        "top_p": 1.0,
        "torchscript": False,
        "use_bfloat16": False,
    }

    def written(config: Any, **roles: Any) -> dict[str, Any]:
        fields = {n: v for n, v in config.to_dict().items() if n not in ("dtype", "transformers_version")}
        return {**fields, **old, **roles, "gradient_checkpointing": False}

    said = {
        "_name_or_path": "./",
        "architectures": ["EncoderDecoderModel"],
        "decoder": written(other, is_decoder=True, add_cross_attention=True),
        "decoder_start_token_id": 2,
        "encoder": written(own),
        "eos_token_id": 3,
        "is_encoder_decoder": True,
        "model_type": "encoder-decoder",
        "pad_token_id": 0,
        "vocab_size": size,
        **settings,
    }
    _json(folder / "config.json", said)
