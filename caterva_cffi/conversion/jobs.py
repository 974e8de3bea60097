"""A conversion as another process can be told of it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from caterva_cffi.conversion.frame_target import FrameTarget
from caterva_cffi.conversion.options import Options
from caterva_cffi.conversion.plans import ArrayPlan
from caterva_cffi.conversion.running import Counts, convert_region
from caterva_cffi.conversion.target import Target
from caterva_cffi.conversion.uploads import UploadedFrame
from caterva_cffi.datasets.model import Tree
from caterva_cffi.datasets.opening import open_tree, zarr_module

__all__ = ["Job", "run_region"]


@dataclass(frozen=True)
class Job:
    """A conversion.

    Attributes
    ----------
    source, path, storage_options, destination, destination_options
        As for `convert`.
    options : Options
    plans : mapping of str to ArrayPlan
    """

    source: Any
    path: str | None
    storage_options: Mapping[str, Any] | None
    destination: str
    destination_options: Mapping[str, Any] | None
    options: Options
    plans: Mapping[str, ArrayPlan]

    def tree(self) -> Tree:
        """Open the source."""
        return open_tree(self.source, self.path, self.storage_options, self.options.excludes)

    def target(self, tree: Tree) -> Target:
        """Return the destination, to which nothing was written yet."""
        request = {
            "source": [tree.name, *tree.identity],
            "options": [
                [self.options.format, self.options.zarr_format, sorted(self.options.exclude)],
                *([*plan.to_dict().items(), str(plan.parameters)] for plan in self.plans.values()),
            ],
        }
        if self.options.format == "b2nd":
            [plan] = self.plans.values()
            if "://" in self.destination:
                options = self.destination_options
                return UploadedFrame(self.destination, options, tree.arrays[""], plan, request)
            return FrameTarget(self.destination, tree.arrays[""], plan, request)
        zarr_module()  # says what to install
        from caterva_cffi.conversion import zarr_documents, zarr_target

        zarr_target.refuse(self.destination)
        documents = zarr_documents.documents_of(tree, self.plans, self.options)
        return zarr_target.ZarrTarget(
            self.destination, self.destination_options, documents, self.plans, request
        )


@lru_cache(maxsize=1)
def _opened(job: bytes) -> tuple[Job, Tree, Target]:
    told: Job = pickle.loads(job)
    tree = told.tree()
    return told, tree, told.target(tree)


def run_region(job: bytes, path: str, number: int) -> tuple[int, Counts]:
    """Convert a region in a process that knows only the job.

    Parameters
    ----------
    job : bytes
        Pickled.
    path : str
    number : int
    """
    told, tree, target = _opened(job)
    return number, convert_region(tree.arrays[path], target, told.plans[path], number)
