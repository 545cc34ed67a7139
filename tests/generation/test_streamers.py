"""Streamers and stopping criteria, on their own and in `generate`."""

import queue
import threading
import time

import pytest
import torch
import transformers

from seqgraft.generation import (
    BaseStreamer,
    EosTokenCriteria,
    MaxLengthCriteria,
    MaxTimeCriteria,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
    TextStreamer,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

PIECES = ["one ", "two", "three ", "中", "文", "fo", "ur\n", "five", " six", "", "日", " 7"]


class Pieces:
    """A tokenizer of fixed pieces."""

    def decode(self, ids, skip=(), **arguments):
        return "".join(PIECES[i % len(PIECES)] for i in ids if i not in skip)


class Heard(BaseStreamer):
    def __init__(self):
        self.values, self.ended = [], 0

    def put(self, value):
        self.values.append(value)

    def end(self):
        self.ended += 1


@pytest.mark.parametrize("skip_prompt", [False, True])
def test_words_as_in_the_reference(skip_prompt):
    def heard(base):
        words = []

        class Listener(base):
            def on_finalized_text(self, text, stream_end=False):
                words.append((text, stream_end))

        streamer = Listener(Pieces(), skip_prompt, skip=(9,))
        generator = torch.Generator().manual_seed(3)
        for _ in range(20):
            streamer.put(torch.randint(0, 12, (1, 3), generator=generator))
            for _ in range(9):
                streamer.put(torch.randint(0, 12, (1,), generator=generator))
            streamer.end()
        return words

    assert heard(TextStreamer) == heard(transformers.TextStreamer)


def test_printing(capsys):
    streamer = TextStreamer(Pieces())
    streamer.put(torch.tensor([[0]]))
    assert capsys.readouterr().out == "one "
    streamer.put(torch.tensor([1]))
    assert capsys.readouterr().out == ""
    streamer.put(torch.tensor([3]))
    assert capsys.readouterr().out == "two中"
    streamer.put(torch.tensor([5]))
    streamer.end()
    assert capsys.readouterr().out == "fo\n"
    with pytest.raises(ValueError, match="takes one row, but generation runs 2"):
        streamer.put(torch.ones(2, 1))


def test_generate_streams_from_another_thread(pair, sources):
    one = {name: value[:1] for name, value in sources.items()}
    streamer = TextIteratorStreamer(Pieces(), skip_prompt=True, timeout=20)
    arguments = {**one, "streamer": streamer, "max_new_tokens": 12}
    worker = threading.Thread(target=pair[1].generate, kwargs=arguments)
    worker.start()
    words = list(streamer)
    worker.join()
    ids = pair[1].generate(**one, max_new_tokens=12)[0, 1:].tolist()
    assert "".join(words) == Pieces().decode(ids)
    assert len(words) > 3


def test_iterating_gives_up_after_timeout():
    with pytest.raises(queue.Empty):
        next(TextIteratorStreamer(Pieces(), timeout=0.01))


@pytest.mark.parametrize("ends", [{}, {"eos_token_id": None}])
def test_what_a_streamer_gets(pair, sources, ends):
    streamer = Heard()
    ids = pair[1].generate(**sources, streamer=streamer, max_new_tokens=12, **ends)
    assert torch.equal(streamer.values[0], ids[:, :1])
    assert torch.equal(torch.stack(streamer.values[1:], dim=1), ids[:, 1:])
    assert streamer.ended == 1
    plain = pair[1].generate(**sources, max_new_tokens=12, **ends)
    assert torch.equal(plain, ids)


def test_criteria():
    ids = torch.tensor([[1, 2], [1, 3], [1, 4]])
    assert EosTokenCriteria([2, 4])(ids, None).tolist() == [True, False, True]
    assert EosTokenCriteria(torch.tensor(3))(ids.numpy(), None).tolist() == [False, True, False]
    assert MaxLengthCriteria(2)(ids, None) is True
    assert MaxLengthCriteria(3)(ids, None) is False
    assert MaxTimeCriteria(10.0)(ids, None) is False
    assert MaxTimeCriteria(10.0, time.time() - 11)(ids, None) is True
    both = StoppingCriteriaList([EosTokenCriteria(2), MaxLengthCriteria(5)])
    assert both(ids, None).tolist() == [True, False, False]
    assert both.max_length == 5
    assert StoppingCriteriaList()(ids, None).tolist() == [False] * 3
    assert StoppingCriteriaList().max_length is None
    with pytest.raises(TypeError):
        StoppingCriteria()


def test_criteria_in_generate(pair, sources):
    generate = pair[1].generate
    free = generate(**sources, max_new_tokens=9, eos_token_id=None)
    assert torch.equal(generate(**sources, max_new_tokens=9, stopping_criteria=[MaxLengthCriteria(4)]), free[:, :4])
    assert torch.equal(generate(**sources, max_new_tokens=9, max_time=1e-9), free[:, :2])
    end = int(free[0, 4])
    found = generate(**sources, max_new_tokens=9, eos_token_id=2, stopping_criteria=[EosTokenCriteria(end)])
    assert torch.equal(found, generate(**sources, max_new_tokens=9, eos_token_id=end))
    assert found[0].tolist() != free[0, : found.shape[1]].tolist() or found.shape[1] < 10


def test_criteria_see_scores_only_when_they_are_kept(pair, sources):
    seen = []

    def watch(input_ids, scores, **kwargs):
        seen.append(scores)
        return False

    kept = {"return_dict_in_generate": True, "output_scores": True}
    pair[1].generate(**sources, max_new_tokens=2, stopping_criteria=[watch])
    pair[1].generate(**sources, max_new_tokens=2, stopping_criteria=[watch], **kept)
    assert seen[0] is None
    assert [len(s) for s in seen[2:]] == [1, 2]


BEAMS = {
    "beams": {},
    "early": {"early_stopping": True},
    "never": {"early_stopping": "never", "length_penalty": 2.0},
    "short": {"length_penalty": -1.0},
    "sampled": {"do_sample": True, "top_k": 8},
    "groups": {"num_beam_groups": 2, "diversity_penalty": 1.0},
    "constrained": {"force_words_ids": [[7, 8]]},
}


@pytest.mark.parametrize("sources_at_once", [1, 3])
@pytest.mark.parametrize("name", BEAMS)
def test_beams_tell_what_all_agree_on(pair, sources, name, sources_at_once):
    """What was told in time is the beginning of the best rows, and all of it together is these rows."""
    some = {key: value[:sources_at_once] for key, value in sources.items()}
    middle = int(pair[1].generate(**sources, max_new_tokens=8, eos_token_id=None)[0, 5])
    early = 0
    for ends in ([2, middle], None):
        for beams in (2, 4):
            torch.manual_seed(3)
            settings = {"num_beams": beams, "max_new_tokens": 14, "eos_token_id": ends, **BEAMS[name]}
            streamer = Counting(pair[1])
            told = pair[1].generate(**some, streamer=streamer, **settings)
            streamer.hook.remove()
            torch.manual_seed(3)
            if name != "sampled" or sources_at_once == 1:  # sources that leave take no more draws
                assert torch.equal(pair[1].generate(**some, **settings), told)
            assert torch.equal(streamer.values[0], told[:, :1])
            assert torch.equal(torch.stack(streamer.values[1:], dim=1), told[:, 1:])
            assert streamer.ended == 1
            early += sum(steps < streamer.steps for steps in streamer.after[1:])
    assert early > 3 or name == "groups"  # which are made to disagree


class Counting(Heard):
    """Also hears after how many steps of the model each value came."""

    def __init__(self, adapted):
        super().__init__()
        self.after, self.steps = [], 0
        self.hook = adapted.model.register_forward_hook(self._step)

    def _step(self, *arguments):
        self.steps += 1

    def put(self, value):
        super().put(value)
        self.after.append(self.steps)


def test_beams_of_one_text_in_words(pair, sources):
    one = {name: value[:1] for name, value in sources.items()}
    streamer = TextIteratorStreamer(Pieces(), skip_prompt=True, timeout=20)
    ids = pair[1].generate(**one, streamer=streamer, max_new_tokens=12, num_beams=3)
    assert "".join(streamer) == Pieces().decode(ids[0, 1:].tolist())
