"""The tree of exceptions. Every message says what is wrong, what it must be, and what it is."""


class SeqgraftError(Exception):
    """The root: `except SeqgraftError` catches whatever this library raises on purpose."""


class ConfigurationError(SeqgraftError, ValueError):
    """A configuration's fields are impossible, contradict one another, or ask for what is not supported."""


class SpecError(SeqgraftError, ValueError):
    """The description of a stack is impossible (heads that do not divide, a window of negative length)."""


class CheckpointError(SeqgraftError, ValueError):
    """The weights do not fit the model: one error that lists every missing, unexpected or misshapen tensor."""


class FolderError(SeqgraftError, OSError):
    """A folder or hub repository, or a file in it, is missing, unreadable, or points outside itself."""


class TokenizerError(SeqgraftError, ValueError):
    """A tokenizer cannot be built from its files, or cannot do what was asked of it."""


class GenerationError(SeqgraftError, ValueError):
    """Generation settings are impossible or contradict one another."""


class DataError(SeqgraftError, ValueError):
    """A file of pairs has a line that cannot be read; the message names file and line."""


class MissingExtraError(SeqgraftError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""
