"""`pipeline("summarization", model=...)` and its sisters: texts in, texts out, as in transformers 4."""

from seqgraft.pipelines.making import pipeline
from seqgraft.pipelines.tasks import TASKS, SummarizationPipeline, TranslationPipeline, pipeline_class
from seqgraft.pipelines.text2text import Text2TextGenerationPipeline

__all__ = [
    "TASKS",
    "SummarizationPipeline",
    "Text2TextGenerationPipeline",
    "TranslationPipeline",
    "pipeline",
    "pipeline_class",
]
