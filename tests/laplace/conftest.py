"""Oracles of the evidence are compared in double precision."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(0)
    was = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(was)
