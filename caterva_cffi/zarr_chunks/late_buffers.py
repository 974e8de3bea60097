"""Zarr's buffers around bytes that may never be wanted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from zarr.core.buffer import cpu

__all__ = ["LateBuffer"]


class LateBuffer(cpu.Buffer):
    """Zarr's buffer around bytes that are brought when somebody wants them."""

    def __init__(self, bring: Callable[[], npt.NDArray[np.uint8]]) -> None:
        self._bring = bring

    @cached_property
    def _data(self) -> npt.NDArray[np.uint8]:  # type: ignore[override]
        return self._bring()

    def __getitem__(self, key: slice) -> Any:
        return cpu.Buffer(self._data)[key]
