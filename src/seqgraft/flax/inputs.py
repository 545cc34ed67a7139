"""What a call is given, as arrays of the device."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from seqgraft.spec import Stack


def int32(value: Any) -> Any:
    """Ids, masks or positions; None stays None."""
    return None if value is None else jnp.asarray(value, jnp.int32)


def known_ids(name: str, ids: Any, side: str, spec: Stack) -> Any:
    """Ids as int32; ValueError for one of the host that the side's vocabulary does not have, where JAX would read
    another row."""
    if isinstance(ids, np.ndarray | list | tuple):
        held = np.asarray(ids)
        if held.size and not (held.min() >= 0 and held.max() < spec.vocabulary):
            raise ValueError(
                f"`{name}` must be ids of the {side}'s vocabulary (0 to {spec.vocabulary - 1}), but go from "
                f"{held.min()} to {held.max()}."
            )
    return int32(ids)


def flags(attentions: bool | None, states: bool | None, return_dict: bool | None) -> dict[str, bool | None]:
    """By the names that the module knows them by."""
    return {"output_attentions": attentions, "output_hidden_states": states, "return_dict": return_dict}
