"""Small networks gain nothing from a second thread, and lose much where it has to wait for its turn."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread(_two_threads):
    torch.set_num_threads(1)
