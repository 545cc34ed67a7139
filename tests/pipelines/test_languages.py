"""Translation between languages that the call or the task's name says, as the reference's pipeline did it."""

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from seqgraft import AutoTokenizer, pipeline
from seqgraft.errors import ConfigurationError

from ..families.rows import spread
from ..text.test_languages import whole

TEXTS = ["the encoder reads", "one token after another", "source"]
SIZES: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 44,
    "decoder_ffn_dim": 44,
    "max_position_embeddings": 64,
    "init_std": 0.4,
}
SAID = {"max_length": 9, "num_beams": 2}


def made(cls: str, model: str, folder: Path) -> Path:
    """A tiny model of many languages, with its tokenizer."""
    whole(cls, folder)
    size = len(getattr(transformers, cls).from_pretrained(folder))
    config = getattr(transformers, f"{model}Config")(vocab_size=size, decoder_start_token_id=2, **SIZES)
    spread(getattr(transformers, f"{model}ForConditionalGeneration")(config), 5).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[("MBartTokenizer", "MBart"), ("NllbTokenizer", "M2M100")])
def place(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any, list[str]]:
    """(folder, the reference's model, its tokenizer, three languages)"""
    cls, model = request.param
    folder = made(cls, model, tmp_path_factory.mktemp(cls))
    codes = {"MBartTokenizer": ["en_XX", "de_DE", "ro_RO"], "NllbTokenizer": ["eng_Latn", "deu_Latn", "fra_Latn"]}[cls]
    kind = getattr(transformers, f"{model}ForConditionalGeneration")
    return folder, kind.from_pretrained(folder).eval(), getattr(transformers, cls).from_pretrained(folder), codes


@torch.no_grad()
def expected(model: Any, tokenizer: Any, text: str, source: str, target: str) -> str:
    """What the reference's pipeline of old made of it."""
    inputs = tokenizer._build_translation_inputs(text, return_tensors="pt", src_lang=source, tgt_lang=target)
    return str(tokenizer.decode(model.generate(**inputs, **SAID)[0], skip_special_tokens=True))


def test_languages_of_a_call(place: Any) -> None:
    folder, model, tokenizer, (first, second, third) = place
    made = pipeline("translation", model=str(folder), device=-1, **SAID)
    for source, target in ((first, second), (second, third), (third, first)):
        wanted = [{"translation_text": expected(model, tokenizer, text, source, target)} for text in TEXTS]
        assert made(TEXTS, src_lang=source, tgt_lang=target) == wanted
        assert made(TEXTS, src_lang=source, tgt_lang=target, batch_size=3) == wanted
        always = pipeline("translation", model=str(folder), device=-1, src_lang=source, tgt_lang=target, **SAID)
        assert always(TEXTS) == wanted
        ids = made(TEXTS[0], src_lang=source, tgt_lang=target, return_tensors=True)[0]["translation_token_ids"]
        assert ids[1] == tokenizer.convert_tokens_to_ids(target)
    assert made.tokenizer.src_lang == first  # its own again


def test_threads_read_their_own_languages(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one call's texts are framed, another thread's wait, and take no language of its own from it."""
    folder, _, _, (first, second, third) = place
    made = pipeline("translation", model=str(folder), device=-1, **SAID)
    wanted = [made(TEXTS, src_lang=second, tgt_lang=third), made(TEXTS, tgt_lang=second)]
    assert made.tokenizer.src_lang == first
    others: list[threading.Thread] = []
    found: list[Any] = []
    encoded = made._encoded

    def waits(*given: Any) -> Any:
        if not others:
            others.append(threading.Thread(target=lambda: found.append(made(TEXTS, tgt_lang=second))))
            others[0].start()
            others[0].join(0.5)
        return encoded(*given)

    monkeypatch.setattr(made, "_encoded", waits)
    assert made(TEXTS, src_lang=second, tgt_lang=third) == wanted[0]
    others[0].join()
    assert found == wanted[1:]


def test_languages_of_the_task_and_of_the_tokenizer(place: Any) -> None:
    folder, model, tokenizer, (first, second, _) = place
    wanted = [{"translation_text": expected(model, tokenizer, text, first, second)} for text in TEXTS]
    short = f"translation_{first.split('_')[0]}_to_{second.split('_')[0]}"
    assert pipeline(short, model=str(folder), device=-1, **SAID)(TEXTS) == wanted
    own = AutoTokenizer.from_pretrained(folder, src_lang=first, tgt_lang=second)
    assert pipeline("translation", model=str(folder), tokenizer=own, device=-1, **SAID)(TEXTS) == wanted
    plain = pipeline("translation", model=str(folder), device=-1, **SAID)(TEXTS)  # nobody says any: as the model is set
    with torch.no_grad():
        batch = [tokenizer(text, return_tensors="pt") for text in TEXTS]
        ids = [model.generate(**one, **SAID)[0] for one in batch]
    assert plain == [{"translation_text": tokenizer.decode(one, skip_special_tokens=True)} for one in ids]


def test_languages_that_are_missing_or_unknown(place: Any) -> None:
    folder, _, _, (first, second, _) = place
    made = pipeline("translation", model=str(folder), device=-1, **SAID)
    with pytest.raises(ConfigurationError, match="`tgt_lang` must be given, since the other language is"):
        made(TEXTS, src_lang=second)
    made.tokenizer.src_lang = None
    with pytest.raises(ConfigurationError, match="`src_lang` must be given, since the other language is"):
        made(TEXTS, tgt_lang=second)
    with pytest.raises(ConfigurationError, match=r"`tgt_lang` must be one of .*, but is 'xx'"):
        made(TEXTS, src_lang=first, tgt_lang="xx")
    with pytest.raises(ConfigurationError, match=r"`src_lang` must be one of .*, but is 'xx'"):
        pipeline("translation_xx_to_yy", model=str(folder), device=-1)


def test_the_command(place: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from seqgraft.cli import app

    folder, model, tokenizer, (_, second, third) = place
    arguments = ["run", "-t", "translation", "-m", str(folder), "--device", "cpu", "--max-length", "9", "--json"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(TEXTS).encode())))
    app([*arguments, "--num-beams", "2", "--src-lang", second, "--tgt-lang", third], standalone_mode=False)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    wanted = [expected(model, tokenizer, text, second, third) for text in TEXTS]
    assert [record["translation_text"] for record in found] == wanted
