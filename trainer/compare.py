"""Is what will be served the network that was trained? Both are run on the same samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

_BATCH_SIZES = (1, 3, 8)
"""One more than once: a traced network may have the example's batch size baked in."""

_TOLERANCE = 1e-4
"""Greatest difference between compiled and eager logits, relative to the largest logit: fused
convolutions sum in another order, and float32 carries about seven digits."""


def check_equal(
    served: nn.Module, compiled: Callable[[Tensor], Tensor], batch_nhwc: Tensor
) -> None:
    """Compares what a worker will run with the eager network, at batch sizes 1, 3 and 8.

    Raises:
        ValueError: they differ.
    """
    with torch.inference_mode():
        for size in _BATCH_SIZES:
            # Repeatedly: from the second call on TorchScript runs an optimised graph.
            expected_nk = served(batch_nhwc[:size])
            for _ in range(3):
                got_nk = compiled(batch_nhwc[:size])
                if got_nk.shape != expected_nk.shape:
                    raise ValueError(f"{list(got_nk.shape)} logits at batch size {size}")
                difference = (got_nk - expected_nk).abs().max().item()
                if not difference <= _TOLERANCE * scale_of(expected_nk):
                    raise ValueError(
                        f"compiled logits differ by {difference:.3g} at batch size {size}"
                    )


def scale_of(logits_nk: Tensor) -> float:
    """The largest logit's size, at least 1: what differences are relative to."""
    return max(1.0, logits_nk.abs().max().item())
