"""The tasks by name."""

from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.pipelines.text2text import Text2TextGenerationPipeline

TASKS = ("summarization", "translation", "translation_xx_to_yy", "text2text-generation")


class SummarizationPipeline(Text2TextGenerationPipeline):
    """Texts -> summaries: `[{"summary_text": ...}]`."""

    return_name = "summary"
    default_task = "summarization"

    def _check_lengths(self, source: int, settings: dict[str, Any]) -> None:
        most = self._length("max_length", settings)
        if most is not None and source < most:
            self._tell(
                "length",
                "`max_length` is %d, but an input has only %d tokens; summaries are shorter than their sources, so "
                "consider max_length=%d.",
                most,
                source,
                max(source // 2, 1),
            )


class TranslationPipeline(Text2TextGenerationPipeline):
    """Texts -> translations: `[{"translation_text": ...}]`."""

    return_name = "translation"
    default_task = "translation"

    def _check_lengths(self, source: int, settings: dict[str, Any]) -> None:
        most = self._length("max_length", settings)
        if most is not None and source > 0.9 * most:
            self._tell(
                "length",
                "An input has %d tokens, more than nine tenths of `max_length` (%d), so its translation may be cut "
                "short; consider a larger max_length.",
                source,
                most,
            )


def pipeline_class(task: str | None) -> type[Text2TextGenerationPipeline]:
    """The class of a task; ConfigurationError for a task that is none of `TASKS`."""
    kinds: dict[str, type[Text2TextGenerationPipeline]] = {
        "summarization": SummarizationPipeline,
        "translation": TranslationPipeline,
        "text2text-generation": Text2TextGenerationPipeline,
    }
    words = str(task).split("_")
    if len(words) == 4 and all(words) and (words[0], words[2]) == ("translation", "to"):
        return TranslationPipeline
    if task not in kinds:
        raise ConfigurationError(f"`task` must be one of {', '.join(TASKS)}, but is {task!r}.")
    return kinds[str(task)]
