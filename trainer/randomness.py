"""The process's random generators: torch's, CUDA's, numpy's and Python's own.

The order of samples has a generator of its own (``TrainingBatches``); dropout and what else a
network draws come from these.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

_NUMPY_SEEDS = 2**32
"""numpy takes seeds below it alone."""


def seed_all(seed: int) -> None:
    """Seeds them all, for the whole process."""
    torch.manual_seed(seed)  # CUDA's too
    np.random.seed(seed % _NUMPY_SEEDS)
    random.seed(seed)


def random_state() -> dict[str, Any]:
    """Where they are, in tensors and plain values that ``load_tensors`` takes."""
    numpy_state = np.random.get_state(legacy=False)
    key = torch.from_numpy(numpy_state["state"]["key"].astype(np.int64))
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
        "numpy": {**numpy_state, "state": {**numpy_state["state"], "key": key}},
        "python": random.getstate(),
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Brings those that ``state`` names back to where they were.

    CUDA's stay as they are if there are more or fewer devices now.
    """
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    if "numpy" in state:
        inner = state["numpy"]["state"]
        key = inner["key"].numpy().astype(np.uint32)
        np.random.set_state({**state["numpy"], "state": {**inner, "key": key}})
    if "python" in state:
        random.setstate(state["python"])
