"""The tiny models of the families' suite."""

from ..torch.conftest import made

__all__ = ["made"]
