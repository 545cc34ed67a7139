"""How the originals name every parameter: `python -m tests.oracle.make names` in the oracle's environment.

For each model type and class there is one tiny configuration, and for each parameter of the Flax or TensorFlow class
its shape, the PyTorch tensors that hold the same values, and how these lie in it ("same", "turned"). They are found by
loading random weights through the originals' own conversion and comparing values, so that the listing says nothing
that was not seen. A parameter without such a tensor (a pooler, an idle bias) has none.
"""

import importlib
import tempfile
import zlib
from typing import Any

import numpy as np

TINY = {
    "vocab_size": 61,
    "hidden_size": 16,
    "d_model": 16,
    "n_embd": 16,
    "emb_dim": 16,
    "embedding_size": 12,
    "num_hidden_layers": 2,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "num_attention_heads": 2,
    "attention_heads": 2,
    "num_heads": 2,
    "n_head": 2,
    "n_heads": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 20,
    "ffn_dim": 20,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 20,
    "n_inner": 20,
    "dff": 20,
    "d_ff": 20,
    "d_kv": 8,
    "d_inner": 20,
    "d_head": 8,
    "head_dim": 8,
    "hidden_dim": 20,
    "dim": 16,
    "max_position_embeddings": 24,
    "n_positions": 24,
    "n_ctx": 24,
    "rotary_dim": 4,
    "word_embed_proj_dim": 16,
    "input_embedding_size": 12,
    "output_embedding_size": 12,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}
"""Every field that a configuration has of these is made this small."""

OWN: dict[str, dict[str, Any]] = {
    "big_bird": {"attention_type": "original_full"},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 4},
    "longformer": {"attention_window": [4, 4]},
    "xlm": {"lang2id": {}, "n_langs": 1},
    "opt": {"ffn_dim": 20},
    "deberta": {"relative_attention": True, "pos_att_type": "p2c|c2p", "max_relative_positions": 24},
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": "p2c|c2p",
        "max_relative_positions": 24,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
    },
    "roberta": {"type_vocab_size": 1},
    "xlm-roberta": {"type_vocab_size": 1},
    "camembert": {"type_vocab_size": 1},
    "bert": {"pad_token_id": 0},
    "roformer": {"embedding_size": 16},  # the Flax class has no map between two widths
    "esm": {"mask_token_id": 5, "emb_layer_norm_before": False},
}
PAIRS = {
    "bert+bert": ("bert", "bert"),
    "bert+gpt2": ("bert", "gpt2"),
    "roberta+roberta": ("roberta", "roberta"),
    "electra+bert": ("electra", "bert"),
    "bert+bart": ("bert", "bart"),
}
FAMILIES = (
    "albert",
    "bart",
    "bert",
    "big_bird",
    "blenderbot",
    "blenderbot-small",
    "bloom",
    "camembert",
    "ctrl",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "esm",
    "flaubert",
    "gemma",
    "gpt2",
    "gpt_neo",
    "gptj",
    "layoutlm",
    "llama",
    "longformer",
    "marian",
    "mbart",
    "mistral",
    "mpnet",
    "mt5",
    "openai-gpt",
    "opt",
    "pegasus",
    "rembert",
    "roberta",
    "roberta-prelayernorm",
    "roformer",
    "t5",
    "xglm",
    "xlm",
    "xlm-roberta",
    "xlnet",
)
"""Those that both this library and the originals, in one of the two frameworks, have."""
KINDS = {"flax": "Flax", "tensorflow": "TF"}
TASKS = ("MODEL", "MODEL_FOR_CAUSAL_LM", "MODEL_FOR_MASKED_LM", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM")
DECODERS = ("bert", "roberta", "electra", "big_bird", "xlm-roberta", "camembert", "rembert", "gpt2", "xglm")
"""Families whose causal class has cross-attention of its own: it is listed with it."""


def configuration(model_type: str, **more: Any) -> Any:
    """A tiny configuration of the family."""
    from transformers import AutoConfig

    plain = AutoConfig.for_model(model_type)
    small = {name: size for name, size in TINY.items() if name in plain.to_dict() or name in plain.attribute_map}
    mapped = {plain.attribute_map.get(name, name): size for name, size in small.items()}
    return type(plain)(**{**mapped, **OWN.get(model_type, {}), **more})


def flat(tree: Any, before: str = "") -> dict[str, np.ndarray]:
    """Nested dictionaries -> path with slashes -> array."""
    if not hasattr(tree, "items"):
        return {before: np.asarray(tree)}
    found: dict[str, np.ndarray] = {}
    for name, part in tree.items():
        found |= flat(part, f"{before}/{name}" if before else name)
    return found


def randomised(model: Any) -> dict[str, np.ndarray]:
    """Other values in every tensor of a PyTorch model, drawn by its name; returns them."""
    import torch

    state = {}
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(tensor.shape))
                tensor.copy_(torch.from_numpy(draw.astype(np.float32)))
        for name, tensor in model.state_dict().items():  # read after all are written: ties hold one value
            state[name] = tensor.detach().numpy().copy()
    return state


def variables(model: Any, kind: str) -> dict[str, np.ndarray]:
    """Every parameter by the original's name."""
    if kind == "flax":
        return flat(model.params)
    return {weight.name: weight.numpy() for weight in model.weights}


def matched(found: dict[str, np.ndarray], stored: dict[str, np.ndarray]) -> dict[str, Any]:
    """name -> [shape, the PyTorch tensors with its values, how they lie: "same", "turned", or "other"]."""

    def values(array: np.ndarray) -> tuple[int, bytes]:
        return array.size, np.sort(array, axis=None).tobytes()

    holders: dict[tuple[int, bytes], list[str]] = {}
    for name, array in stored.items():
        holders.setdefault(values(array), []).append(name)
    listing = {}
    for name, array in found.items():
        holding = holders.get(values(array), [])
        theirs = stored[holding[0]] if holding else array
        lies = "same" if np.array_equal(theirs.ravel(), array.ravel()) else "other"
        if lies == "other" and np.array_equal(theirs.T.ravel(), array.ravel()):
            lies = "turned"
        listing[name] = [list(array.shape), holding, lies if holding else None]
    return listing


def torch_class(class_name: str) -> Any:
    """The PyTorch class of the same model."""
    import transformers

    tried = (class_name, class_name.replace("ForCausalLM", "LMHeadModel"))
    return next(getattr(transformers, name) for name in tried if hasattr(transformers, name))


def listed(kind: str, class_name: str, config: Any) -> dict[str, Any]:
    """One class: its configuration and its parameters."""
    import transformers

    theirs = torch_class(class_name.removeprefix(KINDS[kind]))(config)
    stored = randomised(theirs)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        model = getattr(transformers, class_name).from_pretrained(folder, from_pt=True)
    names = matched(variables(model, kind), stored)
    named = {one for _, holding, _ in names.values() for one in holding}
    return {
        "config": config.to_diff_dict(),
        "parameters": names,
        "torch": {name: list(array.shape) for name, array in stored.items()},
        "unnamed": sorted(set(stored) - named),
    }


def classes(kind: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(model type, class, fields) of every text class that the originals have in this framework."""
    where = importlib.import_module(f"transformers.models.auto.modeling_{'flax' if kind == 'flax' else 'tf'}_auto")
    found = []
    for task in TASKS:
        for model_type, name in getattr(where, f"{KINDS[kind].upper()}_{task}_MAPPING_NAMES", {}).items():
            name = name[0] if isinstance(name, tuple) else name
            if model_type not in FAMILIES:
                continue
            more = {"is_decoder": True} if task.endswith("_CAUSAL_LM") and "SEQ" not in task else {}
            if more and model_type in DECODERS and (kind, model_type) != ("flax", "xglm"):  # asks for `n_embd`
                more["add_cross_attention"] = True
            if (model_type, name, more) not in found:
                found.append((model_type, name, more))
    return found


def everything(kind: str, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every class and pair; what the originals themselves cannot do is kept as the error it gives."""
    import transformers

    kept: dict[str, Any] = {}
    for model_type, name, more in classes(kind):
        if only and model_type not in only:
            continue
        try:
            said = name + ("+cross" if more.get("add_cross_attention") else "")
            kept[said] = {"model_type": model_type, **listed(kind, name, configuration(model_type, **more))}
        except Exception as error:  # a class that the original cannot convert says so in the listing
            kept[name] = {"model_type": model_type, "error": _said(error)}
    for pair, (encoder, decoder) in PAIRS.items():
        if only and pair not in only:
            continue
        halves = configuration(encoder), configuration(decoder, is_decoder=True, add_cross_attention=True)
        config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(*halves)
        try:
            kept[pair] = listed(kind, f"{KINDS[kind]}EncoderDecoderModel", config)
        except Exception as error:
            kept[pair] = {"model_type": "encoder-decoder", "error": _said(error)}
    return kept


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
