"""Assisted generation from texts: two tokenizers, pipelines and the command."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import seqgraft
from seqgraft.cli import app
from seqgraft.torch.candidates import Assistant
from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.ragged import Texts
from seqgraft.torch.search import Step
from seqgraft.torch.stopping import Stopping
from seqgraft.torch.translation import Translated, Translator

from ..pipelines import tiny


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    return {
        "bert": tiny.bert_pair(root / "bert"),
        "two": tiny.two_pair(root / "two"),
        "gpt2": tiny.plain_gpt2(root / "gpt2"),
        "other": tiny.bert_pair(root / "other"),
    }


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("name", ["bert", "two"])
def test_pipelines_give_what_they_give_alone(folders: dict[str, Path], name: str, batch_size: int) -> None:
    fixed = {"model": folders[name], "device": -1, "max_new_tokens": 12, "batch_size": batch_size}
    plain = seqgraft.pipeline("summarization", **fixed)(tiny.TEXTS)
    assert len({record["summary_text"] for record in plain}) > 2
    for how in (
        {"prompt_lookup_num_tokens": 3},
        {"assistant_model": folders["other"]},
        {"assistant_model": str(folders["two"])},
        {"assistant_model": folders["gpt2"], "num_assistant_tokens": 5},
    ):
        assert seqgraft.pipeline("summarization", **fixed, **how)(tiny.TEXTS) == plain, how


def test_an_assistant_with_the_same_words_needs_no_tokenizer(folders: dict[str, Path]) -> None:
    fixed = {"model": folders["bert"], "device": -1, "max_new_tokens": 3}
    same = seqgraft.pipeline("summarization", **fixed, assistant_model=folders["other"])
    assert "assistant_tokenizer" not in same._asked({}).settings
    other = seqgraft.pipeline("summarization", **fixed, assistant_model=folders["gpt2"])
    assert isinstance(other._asked({}).settings["assistant_tokenizer"], seqgraft.GPT2Tokenizer)


class Speller:
    """Spells one text, whatever it has seen: the id behind `seen` ids is the text's at that place."""

    def __init__(self, ids: list[int], vocab: int) -> None:
        self.ids, self.vocab = ids, vocab
        self.read: list[list[int]] = []

    def score(self, ids: torch.Tensor, state: list[list[int]]) -> tuple[torch.Tensor, list[list[int]]]:
        logits = torch.zeros(len(ids), ids.shape[1], self.vocab)
        for row, new in enumerate(ids.tolist()):
            for place in range(len(new)):
                at = len(state[row]) + place  # a first id stands before the text
                logits[row, place, self.ids[min(at, len(self.ids) - 1)]] = 9.0
        self.read = [seen + new for seen, new in zip(state, ids.tolist(), strict=True)]
        return logits, self.read

    def step(self, ids: torch.Tensor, state: list[list[int]]) -> tuple[Step, list[list[int]]]:
        logits, state = self.score(ids, state)
        return Step(logits[:, -1]), state

    def keep(self, state: list[list[int]], rows: torch.Tensor) -> list[list[int]]:
        return [state[row] for row in rows.tolist()]

    def forget(self, state: list[list[int]], counts: torch.Tensor) -> list[list[int]]:
        return [seen[: len(seen) - count] for seen, count in zip(state, counts.tolist(), strict=True)]


def test_drafts_in_other_words_are_the_same_text(folders: dict[str, Path]) -> None:
    own = seqgraft.AutoTokenizer.from_pretrained(folders["bert"])
    other = seqgraft.AutoTokenizer.from_pretrained(folders["gpt2"])
    text = "the plant makes energy from light and water"
    end = other.eos_token_id
    speller = Speller([*other(text)["input_ids"], end], len(other))
    stopping = Stopping(99, (end,))
    inner = Assistant(speller, [[], []], tokens=30, threshold=0.0, processors=LogitsProcessorList(), stopping=stopping)
    translated = Translated(inner, Translator(other, own), start=end, ends=[end], end=3, capacity=99)
    words = own(text, add_special_tokens=False)["input_ids"]
    texts = Texts(torch.tensor([[2], [2]]), 40, 0)
    texts.ids[0, 1:3], texts.ids[1, 1:6] = torch.tensor(words[:2]), torch.tensor(words[:5])
    texts.lengths = torch.tensor([3, 6])
    drafts = translated.propose(texts, torch.tensor([30, 2]))
    # Thirty letters behind "the plant" end in the middle of "water"; the second row has room for two words alone.
    letters = " makes energy from light and water"[:30]
    wanted = [own(letters, add_special_tokens=False)["input_ids"], words[5:7]]
    assert [drafts.ids[row, : drafts.counts[row]].tolist() for row in range(2)] == wanted
    assert speller.read[0][1:] == other("the plant" + letters)["input_ids"][: len(speller.read[0]) - 1]
    texts.ids[0, 3:9], texts.lengths[0] = torch.tensor(words[2:]), 9
    translated.keep(torch.tensor([0]))
    texts.live = torch.tensor([0])
    drafts = translated.propose(texts, torch.tensor([30]))
    assert drafts.ids[0].tolist() == [3]  # what is left of the text is its end, and the model's end is another id


def test_the_command_gives_what_it_gives_alone(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("\n".join(tiny.TEXTS) + "\n", encoding="utf-8")
    found = []
    for number, flags in enumerate(([], ["--prompt-lookup", 2], ["--assistant", folders["other"]])):
        out = tmp_path / f"{number}.txt"
        fixed = ["-i", tmp_path / "in.txt", "-o", out, "--device", "cpu", "--max-new-tokens", 9, "--batch-size", 3]
        done = CliRunner().invoke(app, [str(word) for word in ("generate", folders["bert"], *fixed, *flags)])
        assert done.exit_code == 0, done.stderr
        found.append(out.read_text(encoding="utf-8"))
    assert found[0] == found[1] == found[2]
    wrong = CliRunner().invoke(
        app, ["generate", str(folders["bert"]), "-i", "a.txt", "-o", "b.txt", "--prompt-lookup", "0"]
    )
    assert wrong.exit_code == 2
    assert "prompt_lookup_num_tokens" in " ".join(wrong.stderr.split())
