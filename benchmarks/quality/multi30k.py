"""Multi30k (Elliott et al. 2016), English-German, from a folder that is not ours: pairs, and vocabularies of them.

The folder holds `train.en.gz`, `train.de.gz`, `val.en.gz` and `val.de.gz`, a sentence a line, as the public repository
`multi30k/dataset` has them (task 1).
"""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from seqgraft.text.tokenizer import Tokenizer as Reader

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
START, PAD, END, UNKNOWN = range(4)


def pairs(folder: Path, part: str, *, lowercase: bool = False) -> list[tuple[str, str]]:
    """(English, German) of `train` or `val`. Raises ValueError where the two files are not of one length."""
    sides = []
    for language in ("en", "de"):
        with gzip.open(folder / f"{part}.{language}.gz", "rt", encoding="utf-8", newline="\n") as lines:
            sides.append([line.strip() for line in lines])
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"'{part}' must have as many lines in English as in German, but has {[*map(len, sides)]}.")
    found = zip(*sides, strict=True)
    return [(source.lower(), target.lower()) if lowercase else (source, target) for source, target in found]


def write(path: Path, found: Iterable[tuple[str, str]]) -> None:
    """The pairs as `seqgraft train` reads them."""
    lines = (json.dumps({"source": source, "target": target}, ensure_ascii=False) for source, target in found)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def vocabulary(texts: Iterable[str], size: int, *, lowercase: bool = False) -> Any:
    """A tokenizer of byte-pair encoding (Sennrich et al. 2016) learned from texts.

    Words and marks are units of their own; a text ends with `</s>` and nothing else is added, so that one vocabulary
    serves both sides. Texts come back as they were, but for case where `lowercase`.
    """
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else []), normalizers.Strip()]
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation("isolated")])
    made.decoder = decoders.Metaspace()
    learner = trainers.BpeTrainer(vocab_size=size, special_tokens=list(SPECIAL), min_frequency=2, show_progress=False)
    made.train_from_iterator(texts, learner)
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", END)])
    return made


def save(tokenizer: Any, folder: Path) -> Reader:
    """Write a tokenizer's folder, and open it."""
    from seqgraft import AutoTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    opened: Reader = AutoTokenizer.from_pretrained(folder)
    return opened
