"""Tests that run on each device, where there is one."""

from __future__ import annotations

import pytest
import torch

_needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

CUDA = pytest.param("cuda:0", marks=[pytest.mark.gpu, _needs_cuda])

on_each_device = pytest.mark.parametrize("device", ["cpu", CUDA])
on_cuda = pytest.mark.parametrize("device", [CUDA])
