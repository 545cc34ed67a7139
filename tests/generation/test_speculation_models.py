"""Assisted generation of tiny models: the result of plain generation, whatever drafts and however many rows agree."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import seqgraft
from seqgraft import EncoderDecoderConfig, EncoderDecoderModel
from seqgraft.errors import GenerationError
from seqgraft.torch.auto import model_class
from seqgraft.torch.halves import CausalModel

VOCAB = 30
START, END, PAD = 1, 2, 0
IDS = {"decoder_start_token_id": START, "eos_token_id": END, "pad_token_id": PAD}


def bert(width: int = 16, **more: Any) -> Any:
    sizes = {"hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return seqgraft.BertConfig(
        **{"vocab_size": VOCAB, **more}, max_position_embeddings=64, tie_word_embeddings=False, **sizes
    )


def gpt2(**more: Any) -> Any:
    ids = {"bos_token_id": START, "eos_token_id": END}
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, **more}
    return seqgraft.GPT2Config(vocab_size=VOCAB, tie_word_embeddings=False, **sizes, **ids)


def llama() -> Any:
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    return seqgraft.LlamaConfig(vocab_size=VOCAB, num_key_value_heads=2, max_position_embeddings=64, **sizes)


def bart() -> Any:
    sizes = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    wide = {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 64}
    return seqgraft.BartConfig(
        vocab_size=VOCAB, d_model=16, **sizes, **wide, **IDS, forced_eos_token_id=None, tie_word_embeddings=False
    )


def t5() -> Any:
    sizes = {"d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 2, "relative_attention_num_buckets": 8}
    far = {"relative_attention_max_distance": 12}
    return seqgraft.T5Config(vocab_size=VOCAB, d_model=16, tie_word_embeddings=False, **sizes, **far, **IDS)


def prophetnet() -> Any:
    sizes = {"num_encoder_layers": 2, "num_decoder_layers": 2, "num_encoder_attention_heads": 2, "ngram": 2}
    wide = {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "num_decoder_attention_heads": 2, "num_buckets": 8}
    far = {"max_position_embeddings": 64, "relative_max_distance": 16, "tie_word_embeddings": False}
    return seqgraft.ProphetNetConfig(vocab_size=VOCAB, hidden_size=16, **sizes, **wide, **far, **IDS)


def pair(name: str, seed: int = 0) -> EncoderDecoderModel:
    """A pair with large random weights."""
    made = {
        "bert-bert": lambda: EncoderDecoderConfig(encoder=bert(), decoder=bert(), **IDS),
        "bert-gpt2": lambda: EncoderDecoderConfig(encoder=bert(), decoder=gpt2(), **IDS),
        "bert-llama": lambda: EncoderDecoderConfig(encoder=bert(), decoder=llama(), **IDS),
    }
    wholes = {"bart": (bart, "Bart"), "t5": (t5, "T5"), "prophetnet": (prophetnet, "ProphetNet")}
    if name in made:
        model = EncoderDecoderModel(config=made[name]())
    else:
        config, kind = wholes[name]
        model = model_class(f"{kind}ForConditionalGeneration")(config())
    return spread(model, seed)


def spread(model: Any, seed: int) -> Any:
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("gate"):
                parameter.fill_(0.8)
            elif "token_types" in key:
                parameter.zero_()
            elif "positions" in key:
                parameter.normal_(0.0, 2.0)
            elif parameter.dim() > 1:
                parameter.normal_(0.0, 1.0 if "embed" in key else 0.8 if "cross_attention" in key else 0.3)
    return model


def noisy(model: Any, much: float) -> Any:
    """A copy that mostly agrees."""
    other = copy.deepcopy(model)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * parameter.abs().mean() * much)
    return other


def sources(rows: int = 5, seed: int = 0) -> dict[str, torch.Tensor]:
    """Sources of mixed lengths."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCAB, (rows, 9), generator=generator)
    lengths = torch.randint(3, 10, (rows,), generator=generator)
    mask = (torch.arange(9) < lengths[:, None]).long()
    return {"input_ids": ids.masked_fill(mask == 0, PAD), "attention_mask": mask}


PAIRS = ("bert-bert", "bert-gpt2", "bert-llama", "bart", "t5", "prophetnet")
SETTINGS: list[dict[str, Any]] = [
    {},
    {"no_repeat_ngram_size": 2, "repetition_penalty": 1.3, "min_length": 7},
    {"eos_token_id": [2, 11, 12, 13, 14], "forced_eos_token_id": 2, "encoder_no_repeat_ngram_size": 2},
]


def assistants(model: Any) -> dict[str, dict[str, Any]]:
    return {
        "near": {"assistant_model": noisy(model, 0.05), "num_assistant_tokens": 4, "assistant_confidence_threshold": 0},
        "adapting": {"assistant_model": noisy(model, 0.1), "num_assistant_tokens_schedule": "heuristic_transient"},
        "alone": {"assistant_model": spread(CausalModel(gpt2()), 3), "num_assistant_tokens": 3},
        "lookup": {"prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 2},
    }


@pytest.mark.parametrize("settings", SETTINGS, ids=["plain", "processed", "ends"])
@pytest.mark.parametrize("name", PAIRS)
def test_greedy_results_are_those_of_the_plain_search(name: str, settings: dict[str, Any]) -> None:
    model = pair(name)
    rows = sources()
    first = {key: value[:1] for key, value in rows.items()}
    plain = model.generate(**rows, max_new_tokens=24, **settings)
    assert len({tuple(row) for row in plain.tolist()}) > 2
    for kind, how in assistants(model).items():
        found = model.generate(**rows, max_new_tokens=24, return_dict_in_generate=True, **settings, **how)
        assert torch.equal(found.sequences, plain), kind
        alone = model.generate(**first, max_new_tokens=24, **settings, **how)
        assert torch.equal(alone[0], plain[0, : alone.shape[1]]), kind
        assert found.speculation.accepted <= found.speculation.drafted
        if kind == "near":
            assert found.speculation.tokens_per_pass > (1.0 if name == "prophetnet" else 1.2)


@pytest.mark.parametrize("name", ["bert-bert", "bert-gpt2"])
def test_results_are_those_of_the_reference(name: str, tmp_path: Path) -> None:
    model = pair(name, seed=2)
    model.save_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    rows = sources(4, seed=1)
    wanted = theirs.generate(**rows, max_new_tokens=20, do_sample=False)
    for kind, how in assistants(model).items():
        assert torch.equal(model.generate(**rows, max_new_tokens=20, **how), wanted), kind


class OfRows:
    """Somebody's processor, which counts on all rows being there and writes into what it gets."""

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        assert len(ids) == len(scores) == 5
        scores[:, 3:9] += torch.arange(5)[:, None] * 0.7 * (ids.shape[1] % 3)
        return scores


def allowed(source: int, ids: torch.Tensor) -> list[int]:
    """A caller's function, which knows whole texts alone."""
    assert ids[0] == START
    assert not {END, PAD} & set(ids[1:].tolist())
    return [token for token in range(1, VOCAB) if (token + source + int(ids[-1]) + len(ids)) % 3]


@pytest.mark.parametrize("settings", [{"logits_processor": [OfRows()]}, {"prefix_allowed_tokens_fn": allowed}])
@pytest.mark.parametrize("name", ["bert-gpt2", "bart"])
def test_a_callers_own_functions_see_what_they_see_otherwise(name: str, settings: dict[str, Any]) -> None:
    model, rows = pair(name, seed=4), sources()
    plain = model.generate(**rows, max_new_tokens=24, **settings)
    assert not torch.equal(plain, model.generate(**rows, max_new_tokens=24))
    for kind, how in assistants(model).items():
        assert torch.equal(model.generate(**rows, max_new_tokens=24, **settings, **how), plain), kind


def test_drafts_stop_where_the_positions_do() -> None:
    model, short = pair("bert-gpt2"), spread(CausalModel(gpt2(n_positions=20)), 3)
    rows = sources(6, seed=4)
    plain = model.generate(**rows, max_length=64)
    assert plain.shape[1] == 64
    for how in ({"assistant_model": noisy(model, 0.1)}, {"assistant_model": short}, {"prompt_lookup_num_tokens": 9}):
        assert torch.equal(model.generate(**rows, max_length=64, **how), plain)


def test_prompts_of_the_decoder_and_their_padding() -> None:
    model = pair("bert-bert", seed=3)
    rows = sources(3)
    prompt = torch.tensor([[START, 7, 8, 9], [START, 5, 6, 7], [START, 9, 9, 9]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [1, 0, 0, 1]])
    more = {"decoder_input_ids": prompt, "decoder_attention_mask": mask, "max_new_tokens": 15}
    plain = model.generate(**rows, **more)
    for kind, how in assistants(model).items():
        assert torch.equal(model.generate(**rows, **more, **how), plain), kind


def test_a_decoder_alone() -> None:
    model = spread(CausalModel(gpt2()), 1)
    ids = torch.randint(3, VOCAB, (4, 8), generator=torch.Generator().manual_seed(3))
    mask = (torch.arange(8) >= torch.tensor([0, 2, 5, 0])[:, None]).long()
    rows = {"input_ids": ids.masked_fill(mask == 0, PAD), "attention_mask": mask, "pad_token_id": PAD}
    plain = model.generate(**rows, max_new_tokens=20)
    for how in ({"assistant_model": noisy(model, 0.05)}, {"prompt_lookup_num_tokens": 4}):
        assert torch.equal(model.generate(**rows, max_new_tokens=20, **how), plain)
    with pytest.raises(GenerationError, match="`assistant_model` must be a decoder alone"):
        model.generate(**rows, max_new_tokens=2, assistant_model=pair("bert-gpt2"))


def test_one_encoder_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = pair("bert-gpt2")
    other = EncoderDecoderModel(encoder=model.encoder, decoder=noisy(model.decoder, 0.05))
    calls: list[int] = []
    monkeypatch.setattr(type(model), "encode", _counting(type(model).encode, calls))
    rows = sources()
    plain = model.generate(**rows, max_new_tokens=9)
    found = model.generate(**rows, max_new_tokens=9, assistant_model=other)
    assert torch.equal(found, plain)
    assert len(calls) == 2
    model.generate(**rows, max_new_tokens=9, assistant_model=noisy(model, 0.1))
    assert len(calls) == 4


def _counting(function: Any, calls: list[int]) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return function(*args, **kwargs)

    return counted


def test_rows_of_one_source_are_drawn_by_themselves() -> None:
    model = pair("bert-gpt2", seed=1)
    rows = sources(2)
    torch.manual_seed(0)
    how = {"do_sample": True, "num_return_sequences": 3000, "max_new_tokens": 2, "top_k": 3}
    counts = {}
    for kind, more in {"plain": {}, **assistants(model), "detailed": {"prompt_lookup_num_tokens": 2}}.items():
        if kind == "detailed":
            ids = model.generate(**rows, **how, **more, return_dict_in_generate=True, output_scores=True).sequences[
                :, 1:
            ]
        else:
            ids = model.generate(**rows, **how, **more)[:, 1:]
        ids = torch.nn.functional.pad(ids, (0, 2 - ids.shape[1]))
        counts[kind] = torch.stack(
            [torch.bincount(part[:, 0] * VOCAB + part[:, 1], minlength=VOCAB**2) for part in ids.chunk(2)]
        )
    for kind in list(counts)[1:]:
        both = counts["plain"] + counts[kind]
        some = both > 20  # two samples of one distribution (Pearson's test of homogeneity)
        statistic = float(((counts["plain"] - counts[kind])[some] ** 2 / both[some]).sum())
        freedom = int(some.sum()) - 2
        assert statistic < freedom + 4 * (2 * freedom) ** 0.5, (kind, statistic, freedom)


def test_an_assistant_reads_the_source_of_each_row() -> None:
    model, rows = pair("bert-gpt2", seed=4), sources()
    how = {"max_new_tokens": 20, "assistant_model": copy.deepcopy(model), "assistant_confidence_threshold": 0.0}
    found = model.generate(**rows, **how, do_sample=True, top_k=1, num_return_sequences=3, return_dict_in_generate=True)
    plain = model.generate(**rows, max_new_tokens=20)
    assert torch.equal(found.sequences, plain.repeat_interleave(3, dim=0))
    assert found.speculation.acceptance > 0.99  # of the same model; with another row's source it would differ


def test_a_schedule_is_remembered_by_the_assistant() -> None:
    model = pair("bert-bert")
    other = copy.deepcopy(model)
    other.generation_config.num_assistant_tokens = 2
    other.generation_config.assistant_confidence_threshold = 0.0
    how = {"max_new_tokens": 24, "eos_token_id": None, "assistant_model": other}
    model.generate(**sources(2), **how, num_assistant_tokens_schedule="heuristic_transient")
    assert other.generation_config.num_assistant_tokens == 2
    model.generate(**sources(2), **how, num_assistant_tokens_schedule="heuristic")
    assert other.generation_config.num_assistant_tokens == 2 + 2 * 3  # passes of 3, 5, 7 and 9 tokens


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 2}, "`prompt_lookup_num_tokens` .2. needs `num_beams` to be 1, but it is 2"),
        ({"penalty_alpha": 0.5, "top_k": 4}, "`prompt_lookup_num_tokens` .2. needs `penalty_alpha`"),
        ({"return_dict_in_generate": True, "output_attentions": True}, "needs `output_attentions` to be False"),
        ({"return_dict_in_generate": True, "output_hidden_states": True}, "needs `output_hidden_states` to be False"),
        ({"num_assistant_tokens_schedule": "often"}, "must be one of 'constant', 'heuristic', 'heuristic_transient'"),
        ({"max_matching_ngram_size": 0}, "`max_matching_ngram_size` must be an integer of at least 1, but is 0"),
        ({"assistant_model": 5}, "`assistant_model` and `prompt_lookup_num_tokens` .2. both draft tokens"),
    ],
)
def test_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(GenerationError, match=message):
        pair("bert-gpt2").generate(**sources(1), max_new_tokens=2, prompt_lookup_num_tokens=2, **settings)


def test_refused_assistants() -> None:
    model = pair("bert-gpt2")
    rows = {**sources(1), "max_new_tokens": 2}
    with pytest.raises(GenerationError, match="`assistant_model` needs `num_beams` to be 1, but it is 3"):
        model.generate(**rows, num_beams=3, assistant_model=model)
    with pytest.raises(GenerationError, match="must be an encoder-decoder or a causal model, but is a Linear"):
        model.generate(**rows, assistant_model=torch.nn.Linear(1, 1))
    small = spread(CausalModel(seqgraft.GPT2Config(vocab_size=9, n_embd=4, n_layer=1, n_head=1)), 0)
    with pytest.raises(GenerationError, match="but they have 30 and 9 tokens"):
        model.generate(**rows, assistant_model=small)
    with pytest.raises(GenerationError, match=r"must be on the model's device .cpu., but is on meta"):
        model.generate(**rows, assistant_model=copy.deepcopy(model).to("meta"))
    states = model.encode(rows["input_ids"])
    with pytest.raises(GenerationError, match="`prompt_lookup_num_tokens` needs the `input_ids` of the source"):
        model.generate(encoder_outputs=states, max_new_tokens=2, prompt_lookup_num_tokens=2)
    with pytest.raises(GenerationError, match="`assistant_model` needs the `input_ids` of the source"):
        model.generate(encoder_outputs=states, max_new_tokens=2, assistant_model=noisy(model, 0.1))
    wide = EncoderDecoderModel(config=EncoderDecoderConfig(encoder=bert(vocab_size=31), decoder=gpt2(), **IDS))
    with pytest.raises(GenerationError, match=r"needs one vocabulary for both halves.*31 and 30 tokens"):
        wide.generate(**rows, prompt_lookup_num_tokens=2)
    with pytest.raises(GenerationError, match=r"must read the model's source.*30 and 31 tokens"):
        model.generate(**rows, assistant_model=wide)
