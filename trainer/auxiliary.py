"""The loss of networks that have auxiliary heads in training: Inception v3 and GoogLeNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor, nn

from pipeline.errors import ConfigError

Outputs: TypeAlias = Tensor | Sequence[Tensor | None]
"""Logits ``[N, K]``; or, in training, those of the main head and then those of auxiliary ones."""


class AuxiliaryLoss(nn.Module):
    """``loss_of`` the logits, plus ``weight`` times that of each auxiliary head's logits.

    Auxiliary heads bring gradients to layers that the main one's hardly reach (Szegedy et al. 2014,
    arXiv:1409.4842, section 5). Of networks without any it is ``loss_of``, unchanged.
    """

    def __init__(self, loss_of: nn.Module, weight: float) -> None:
        super().__init__()
        self.loss_of = loss_of
        self.weight = weight

    def forward(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """The scalar loss, in float32, of outputs as the network gives them and a batch's targets.

        Raises:
            ConfigError: a network of the user's gives something else in training.
        """
        if isinstance(outputs, Tensor):
            return self.loss_of(outputs.float(), targets)
        if not isinstance(outputs, tuple | list) or not isinstance(outputs[0], Tensor):
            raise ConfigError(
                f"the network gives a {type(outputs).__name__} in training, expected logits [N, K],"
                " or a tuple of them: the main head's, then auxiliary ones'."
            )
        loss = self.loss_of(outputs[0].float(), targets)
        for logits_nk in outputs[1:]:
            if logits_nk is not None:
                loss = loss + self.weight * self.loss_of(logits_nk.float(), targets)
        return loss
