"""Lightning without its notices: what it would say of hardware, tips and workers is no news to who trains here."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning", "pytorch_lightning", "lightning_fabric")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep notices and warnings of Lightning's own modules back; errors and everyone else's are shown as ever."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for module in (r"lightning\..*", r"torch\.optim\.lr_scheduler", r"torch\.utils\._pytree"):
            warnings.filterwarnings("ignore", module=module)
        warnings.filterwarnings("ignore", message=r".*(LeafSpec|num_workers|isinstance\(treespec).*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
