"""What the process does with memory that tensors no longer need."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3)


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next step, instead of handing it back page by page.

    Tensors of a step come and go by the hundred megabytes, and to map and clear their pages anew each time takes a
    good part of it. Memory in use grows to the peak and stays there. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
