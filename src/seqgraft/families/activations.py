"""The published names of activation functions -> the spec's."""

from seqgraft.errors import ConfigurationError

_NAMES = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu_squared",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


def activation(name: str) -> str:
    """The spec's name of a published activation."""
    if name not in _NAMES:
        raise ConfigurationError(f"The activation must be one of {', '.join(sorted(_NAMES))}, but is {name!r}.")
    return _NAMES[name]
