"""Text as it is generated: streamers get the prompt's ids, then each step's, and hand on whole words."""

from queue import Queue
from typing import Any

# The Unicode blocks of CJK ideographs, which are written without spaces: each one is complete when it stands last.
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class BaseStreamer:
    """What `generate(streamer=...)` calls: `put` with ids, on the CPU, and `end` once."""

    def put(self, value: Any) -> None:
        """Take ids: the prompt `[1, time]` first, then each step's `[1]`."""
        raise NotImplementedError

    def end(self) -> None:
        """No more will come."""
        raise NotImplementedError


class TextStreamer(BaseStreamer):
    """Prints each word as soon as it is complete: at a space, a line's end or an ideograph.

    `skip_prompt` leaves out what generation started from; `decode_kwargs` go to `tokenizer.decode`.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, **decode_kwargs: Any) -> None:
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.decode_kwargs = decode_kwargs
        self.token_cache: list[int] = []
        self.print_len = 0
        self.next_tokens_are_prompt = True

    def put(self, value: Any) -> None:
        if len(value.shape) > 1:
            if value.shape[0] > 1:
                raise ValueError(f"A {type(self).__name__} takes one row, but generation runs {value.shape[0]}.")
            value = value[0]
        prompt, self.next_tokens_are_prompt = self.next_tokens_are_prompt, False
        if prompt and self.skip_prompt:
            return
        self.token_cache.extend(value.tolist())
        text = self.tokenizer.decode(self.token_cache, **self.decode_kwargs)
        if text.endswith("\n") or (text and any(first <= ord(text[-1]) <= last for first, last in _IDEOGRAPHS)):
            whole = len(text)
        else:  # the last word may still grow
            whole = max(text.rfind(" ") + 1, self.print_len)
        new, self.print_len = text[self.print_len : whole], whole
        if text.endswith("\n"):
            self.token_cache, self.print_len = [], 0
        self.on_finalized_text(new)

    def end(self) -> None:
        text = self.tokenizer.decode(self.token_cache, **self.decode_kwargs) if self.token_cache else ""
        rest = text[self.print_len :]
        self.token_cache, self.print_len = [], 0
        self.next_tokens_are_prompt = True
        self.on_finalized_text(rest, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print; override it to do something else with the words."""
        print(text, flush=True, end=None if stream_end else "")


class TextIteratorStreamer(TextStreamer):
    """Hands the words to whoever iterates, usually in another thread than `generate`.

    Iterating raises `queue.Empty` when nothing came for `timeout` seconds (None waits for ever).
    """

    def __init__(
        self, tokenizer: Any, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.text_queue: Queue[str | None] = Queue()
        self.stop_signal: str | None = None
        self.timeout = timeout

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.text_queue.put(text, timeout=self.timeout)
        if stream_end:
            self.text_queue.put(self.stop_signal, timeout=self.timeout)

    def __iter__(self) -> "TextIteratorStreamer":
        return self

    def __next__(self) -> str:
        value = self.text_queue.get(timeout=self.timeout)
        if value is None or value == self.stop_signal:
            raise StopIteration
        return value
