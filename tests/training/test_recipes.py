"""Recipes: the papers' figures, what is new, what moves, and that it is saved as it was trained."""

import pytest
import torch
import transformers

import seqgraft
from seqgraft.errors import ConfigurationError
from seqgraft.training import recipes
from seqgraft.training.groups import Rate, assigned, factors, freeze, is_new, rate_groups, table
from seqgraft.training.schedule import Budget
from seqgraft.training.trainer import train

FAST = {"rows_per_batch": 6, "dropout": False, "progress": False, "device": "cpu"}


def moved(make, pairs, *arguments, **options):
    """Names of the parameters that a training changes."""
    made = make(*arguments)
    before = {name: p.detach().clone() for name, p in made.model.named_parameters()}
    train(made.model, made.tokenizer, pairs, output=None, max_steps=3, epochs=3, **{**FAST, **options})
    return made.model, {n for n, p in made.model.named_parameters() if not torch.equal(p, before[n])}


def test_two_optimizers_are_the_papers_schedules(make):
    """Liu & Lapata 2019, equations 7 and 8, at their 200,000 steps."""
    made = make()
    given = recipes.settings("two-optimizers")
    options = {"rate": given["learning_rate"], "new_rate": given["new_learning_rate"], "rates": given["rates"]}
    groups = rate_groups(made.model, decay=0.0, **options)
    every = factors(groups, Budget(200_000), warmup=given["warmup"], decay=given["decay"])
    of = {name: at for at, group in enumerate(groups) for name, p in made.model.named_parameters()
          if any(p is held for held in group["params"])}  # fmt: skip
    for name, peak, warmup in (("encoder.embed.weight", 2e-3, 20_000), ("decoder.embed.weight", 0.1, 10_000)):
        at = of[name]
        for step in (500, 9_999, 10_000, 20_000, 70_000, 200_000):
            paper = peak * min(step**-0.5, step * warmup**-1.5)
            assert groups[at]["lr"] * every[at](step) == pytest.approx(paper, rel=1e-9 if step > 1 else 1.0), (
                name,
                step,
            )
    assert given["adam_beta2"] == 0.999
    assert given["label_smoothing"] == 0.1


def test_settings_are_overridden_and_added_to():
    plain = recipes.settings("freeze-encoder")
    assert plain["freeze"] == ("encoder.*",)
    more = recipes.settings("freeze-encoder", freeze=["decoder.embed.*"], learning_rate=1e-3, decay=None)
    assert more["freeze"] == ("encoder.*", "decoder.embed.*")
    assert (more["learning_rate"], more["decay"]) == (1e-3, "inverse_sqrt")
    thawed = recipes.settings("graft-only", unfreeze_at=0.5)
    assert "freeze" not in thawed
    assert thawed["rates"] == ("pretrained=5e-05,start=0.5",)
    with pytest.raises(ConfigurationError, match="must be one of warm-start"):
        recipes.settings("nothing")
    with pytest.raises(ConfigurationError, match="for a recipe that freezes"):
        recipes.settings("lora", unfreeze_at=0.5)
    for recipe in recipes.RECIPES.values():
        assert set(recipe.settings) <= set(train.__kwdefaults__)
        assert any(year in recipe.source for year in ("2017", "2018", "2019", "2020", "2021"))


def test_graft_only_moves_what_is_new(make, pairs):
    model, changed = moved(make, pairs, "bert", "gpt2", **recipes.settings("graft-only"))
    assert changed
    assert changed <= is_new(model)
    assert "decoder.layers.0.cross_attention.query.weight" in changed
    _, later = moved(make, pairs, "bert", "gpt2", **recipes.settings("graft-only", unfreeze_at=0.5))
    assert "encoder.embed.weight" in later


def test_unfreezing_waits_for_its_time(make, pairs):
    made = make()
    groups = rate_groups(made.model, rate=1.0, new_rate=1.0, decay=0.0, rates=["pretrained=2.0,start=0.5"])
    late = next(at for at, group in enumerate(groups) if group["pattern"] == "pretrained")
    run = factors(groups, Budget(100), warmup=0.1, decay="constant")[late]
    assert [run(0), run(49), run(55), run(60), run(100)] == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert run(52) == pytest.approx(0.4)


def test_last_matching_rate_counts_and_the_table_says_so(make):
    made = make()
    rates = ["decoder.*=0.2", "decoder.*.cross_attention.*=0.3,warmup=0.5"]
    held = assigned(made.model, rate=0.1, new_rate=1.0, rates=rates)
    assert held["encoder.embed.weight"].rate == 0.1
    assert held["decoder.embed.weight"].rate == 0.2
    assert held["decoder.layers.0.cross_attention.key.weight"] == Rate("decoder.*.cross_attention.*", 0.3, 0.5)
    freeze(made.model, ["encoder.layers.0.*"])
    lines = table(made.model, rate=0.1, new_rate=1.0, rates=rates)
    assert [(line.pattern, line.rate) for line in lines] == [
        ("decoder.*", 0.2),
        ("decoder.*.cross_attention.*", 0.3),
        ("pretrained", 0.1),
        ("pretrained", None),
    ]
    assert sum(line.parameters for line in lines) == made.model.num_parameters()
    for text in ("encoder.*", "=1", "a=b", "a=1,start=2", "a=-1", "a=1,speed=3"):
        with pytest.raises(ConfigurationError):
            Rate.parse(text)
    assert Rate.parse(str(Rate("a.*", 1 / 3, 0.25, 0.5))) == Rate("a.*", 1 / 3, 0.25, 0.5)


def test_what_a_checkpoint_lacks_is_new_and_what_it_has_is_not(tmp_path):
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(intermediate_size=32, **sizes)
    transformers.BertModel(config).save_pretrained(tmp_path / "body")
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "headed")
    compose = seqgraft.EncoderDecoderModel.from_encoder_decoder_pretrained
    table_, dense = "decoder.head.output.weight", "decoder.head.dense.weight"
    untied = compose(tmp_path / "body", tmp_path / "body", decoder_tie_word_embeddings=False)
    assert {table_, dense} <= is_new(untied)
    untied.save_pretrained(tmp_path / "pair")
    assert {table_, dense} <= is_new(seqgraft.EncoderDecoderModel.from_pretrained(tmp_path / "pair"))
    assert transformers.EncoderDecoderModel.from_pretrained(tmp_path / "pair").num_parameters() > 0
    headed = compose(tmp_path / "body", tmp_path / "headed")
    assert not {name for name in is_new(headed) if ".cross_attention" not in name}
    assert dense in is_new(compose(tmp_path / "body", tmp_path / "body"))


def test_shared_halves_stay_shared(make, pairs, tmp_path):
    made = make()
    alone = made.model.num_parameters()
    told = recipes.prepare(made.model, "share")
    assert "share" in told[0]
    assert "differed" in told[0]  # two random halves
    assert made.model.num_parameters() < alone
    freezing = {"freeze": ["encoder.embed.*"]}
    before = made.model.decoder.embed.weight.detach().clone()
    train(made.model, made.tokenizer, pairs, output=tmp_path, **{**recipes.settings("share", **freezing), **FAST})
    assert torch.equal(made.model.decoder.embed.weight, before)  # frozen under either name
    again = seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)
    assert again.encoder.layers[0].feed_forward.up.weight is again.decoder.layers[0].feed_forward.up.weight
    unlike = make("bert", "gpt2")
    with pytest.raises(ConfigurationError, match="needs halves alike"):
        recipes.prepare(unlike.model, "share")
    assert not unlike.model.config.tie_encoder_decoder


def test_a_half_from_scratch(make):
    made = make()
    torch.nn.init.constant_(made.model.encoder.layers[0].feed_forward.up.weight, 5.0)
    torch.manual_seed(0)
    recipes.start_afresh(made.model, "encoder")
    fresh = made.model.encoder.layers[0].feed_forward.up.weight
    assert float(fresh.detach().std()) == pytest.approx(made.model.encoder.spec.deviation, rel=0.1)
    assert {n for n, _ in made.model.named_parameters() if n.startswith("encoder.")} <= is_new(made.model)
    assert "decoder.embed.weight" not in is_new(made.model)
    with pytest.raises(ConfigurationError, match="'encoder' or 'decoder'"):
        recipes.start_afresh(made.model, "both")
    with pytest.raises(ConfigurationError, match="must start alike, but the encoder alone starts from scratch"):
        recipes.prepare(made.model, "share")
    recipes.start_afresh(made.model, "decoder")
    assert "Both halves share" in recipes.prepare(made.model, "share")[0]
