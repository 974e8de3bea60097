"""A frame behind a URL as a destination: written here first, since its header is known last."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from caterva_cffi.conversion.frame_target import FrameTarget
from caterva_cffi.conversion.plans import ArrayPlan
from caterva_cffi.conversion.target import EXISTS
from caterva_cffi.datasets.model import Dataset
from caterva_cffi.sources.fsspec_files import file_system
from caterva_cffi.storage.url_secrets import without_secrets

__all__ = ["UploadedFrame"]


class UploadedFrame(FrameTarget):
    """A frame that is written in the current directory, and uploaded once it is complete.

    Parameters
    ----------
    url : str
    options : mapping, optional
        For fsspec.
    array, plan, request
        As for `FrameTarget`.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any] | None,
        array: Dataset,
        plan: ArrayPlan,
        request: Mapping[str, Any],
    ) -> None:
        self._fs, self._key = file_system(url, dict(options or {}))
        self._url = without_secrets(url)
        super().__init__(os.path.abspath(os.path.basename(self._key)), array, plan, request)

    def check(self, *, overwrite: bool, resume: bool) -> None:
        """Find what is there, and what an earlier run has written here."""
        if not overwrite and self._fs.exists(self._key):
            raise FileExistsError(EXISTS.format(self._url))
        super().check(overwrite=overwrite, resume=resume)

    def _check_place(self, overwrite: bool) -> None:
        """Accept a file of the same name: it is not replaced."""

    def finish(self) -> None:
        """Upload the frame."""
        self.readable()
        self._fs.put_file(self._partial, self._key)
        self._forget(self._partial, self._log)
