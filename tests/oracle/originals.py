"""What the original classes compute for one case: states, loss, gradients, tokens. Only `make oracle` imports this."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracle.cases import LONGEST, Case, folder, in_flax, named, settings
from tests.oracle.names import KINDS, flat, variables

FIGURES = ("logits", "encoder_last_hidden_state", "decoder_hidden_state", "cross_attention", "loss")
CLOSE = 3e-6
"""How far the originals may lie apart, beside the largest value, before a case is refused: then one is unmended."""


def described(case: Case) -> dict[str, Any]:
    """The configuration as the original writes it, and the shapes of its tensors in the original's PyTorch file."""
    import transformers
    from safetensors import safe_open

    halves = [
        transformers.AutoConfig.for_model(kind, **fields)
        for kind, fields in zip((case.encoder, case.decoder), case.halves(), strict=True)
    ]
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(*halves)
    config.decoder_start_token_id, config.pad_token_id = case.start, case.pad
    with tempfile.TemporaryDirectory() as place:
        transformers.EncoderDecoderModel(config).save_pretrained(place)
        with safe_open(Path(place) / "model.safetensors", "np") as file:
            shapes = {name: list(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    return {"config": config.to_diff_dict(), "tensors": shapes}


def opened(place: Path) -> dict[str, Any]:
    """The pair in each framework, from one PyTorch folder; one without the classes is left out."""
    import transformers

    found = {"torch": transformers.EncoderDecoderModel.from_pretrained(place, attn_implementation="eager").eval()}
    for framework, prefix in KINDS.items():
        kind = getattr(transformers, f"{prefix}EncoderDecoderModel")
        try:
            found[framework] = kind.from_pretrained(place, from_pt=True)
        except (ValueError, KeyError, AttributeError):
            continue
    return found


def _figures(out: Any, loss: Any) -> dict[str, np.ndarray]:
    crossed = out.cross_attentions[-1]
    found = (out.logits, out.encoder_last_hidden_state, out.decoder_hidden_states[-1], crossed, loss)
    return {name: np.asarray(one, np.float32) for name, one in zip(FIGURES, found, strict=True) if one is not None}


ASKED = {"output_hidden_states": True, "output_attentions": True}


def torch_figures(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the original's PyTorch class: only what the others are held against."""
    import torch

    with torch.no_grad():
        out = model(**{name: torch.from_numpy(one).long() for name, one in inputs.items()}, **ASKED)
    return _figures(out, out.loss)


def flax_figures(model: Any, inputs: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Figures, and the loss's gradient by parameter; the class has no `labels`, so the loss is computed here."""
    import jax
    import jax.numpy as jnp

    given = {name: jnp.asarray(one) for name, one in inputs.items() if name != "labels"}
    labels = jnp.asarray(inputs["labels"])

    def loss(params: Any) -> tuple[Any, Any]:
        out = model(**given, params=params, **ASKED)
        scores = jax.nn.log_softmax(out.logits.astype("f4"))
        each = -jnp.take_along_axis(scores, jnp.maximum(labels, 0)[..., None], axis=-1)[..., 0]
        return jnp.where(labels == -100, 0, each).sum() / (labels != -100).sum(), out

    (value, out), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(model.params)
    return _figures(out, value), flat(gradients)


def tensorflow_figures(
    model: Any, inputs: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Figures, and the loss's gradient by variable."""
    import tensorflow as tf

    given = {name: tf.constant(one) for name, one in inputs.items()}
    with tf.GradientTape() as tape:
        out = model(**given, training=False, **ASKED)
        loss = tf.reduce_mean(out.loss)
    found = tape.gradient(loss, model.trainable_weights)
    gradients = {
        variable.name: tf.convert_to_tensor(one).numpy()
        for variable, one in zip(model.trainable_weights, found, strict=True)
        if one is not None
    }
    return _figures(out, loss), gradients


def _rows(ids: Any, pad: int) -> np.ndarray:
    """Token ids [rows, LONGEST], filled at the right."""
    ids = np.asarray(ids)
    return np.pad(ids, ((0, 0), (0, LONGEST - ids.shape[1])), constant_values=pad)


def generated(framework: str, model: Any, case: Case, options: dict[str, Any]) -> np.ndarray:
    """Tokens [rows, LONGEST] of one setting."""
    inputs = {name: case.inputs()[name] for name in ("input_ids", "attention_mask")}
    asked = {"max_length": LONGEST, "do_sample": False, **options}
    if framework == "torch":
        import torch

        with torch.no_grad():
            ids = model.generate(**{name: torch.from_numpy(one).long() for name, one in inputs.items()}, **asked)
    elif framework == "flax":
        import jax.numpy as jnp

        asked = {
            "eos_token_id": 10**6,
            **asked,
        }  # JAX makes no array of None any more: no end is an id beyond the table
        ids = model.generate(**{name: jnp.asarray(one) for name, one in inputs.items()}, **asked).sequences
    else:
        import tensorflow as tf

        ids = model.generate(**{name: tf.constant(one) for name, one in inputs.items()}, **asked)
    return _rows(ids, case.pad)


def computed(case: Case) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """All of a case: what is kept as JSON, and arrays by `framework/name`."""
    held: dict[str, Any] = described(case)
    arrays: dict[str, np.ndarray] = {}
    inputs = case.inputs()
    with tempfile.TemporaryDirectory() as place:
        models = opened(folder(Path(place), held))
    for framework in case.frameworks:
        if framework not in models:
            raise ValueError(f"{case}: the original has no {framework} classes for it.")
    truth = torch_figures(models["torch"], inputs)
    greedy = generated("torch", models["torch"], case, {})[0]
    held["apart"], held["gradients"], held["parameters"] = {}, {}, {}
    for framework in case.frameworks:
        run = flax_figures if framework == "flax" else tensorflow_figures
        figures, gradients = run(models[framework], inputs)
        held["apart"][framework] = {name: _apart(name, one, truth[name], inputs) for name, one in figures.items()}
        if max(held["apart"][framework].values()) > CLOSE:
            raise ValueError(f"{case} in {framework} is apart from PyTorch: {held['apart'][framework]}")
        held["gradients"][framework] = {
            name: float(f"{np.linalg.norm(one.astype(np.float64)):.7g}") for name, one in gradients.items()
        }
        held["parameters"][framework] = {
            name: list(one.shape) for name, one in variables(models[framework], framework).items()
        }
        arrays |= {f"{framework}/{name}": one for name, one in figures.items()}
        small = {name: one for name, one in gradients.items() if one.size <= 64 or "enc_to_dec" in name}
        arrays |= {f"{framework}/gradient/{name}": one for name, one in small.items() if case.whole}
    held["generated"] = {}
    for name, words in settings(case).items():
        options = named(words, greedy)
        rows = {
            framework: generated(framework, models[framework], case, options).tolist()
            for framework in ("torch", *case.frameworks)
            if framework != "flax" or in_flax(options)
        }
        held["generated"][name] = {"options": options, **rows}
    return held, arrays


def _apart(name: str, one: np.ndarray, truth: np.ndarray, inputs: dict[str, np.ndarray]) -> float:
    """The largest difference, beside the largest value, where neither the source nor the target is padding."""
    source, target = (inputs[mask].astype(bool) for mask in ("attention_mask", "decoder_attention_mask"))
    if name == "cross_attention":
        assert one.shape == truth.shape, (one.shape, truth.shape)
        one, truth = (array.transpose(0, 2, 3, 1)[target] for array in (one, truth))
    elif name != "loss":
        seen = source if name.startswith("encoder") else target
        one, truth = one[seen], truth[seen]
    return float(f"{np.abs(one - truth).max() / np.abs(truth).max():.1e}")
