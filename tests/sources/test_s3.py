"""Objects of S3."""

from __future__ import annotations

import fsspec
import numpy as np
import pytest
from remote_arrays import FRAME, ITEMS, OTHER

import caterva_cffi as cat


def test_an_s3_directory_is_refused(s3, bucket, tmp_path):
    cat.zeros((5, 5), 4, urlpath=str(tmp_path / "sparse"))
    fs = fsspec.filesystem("s3", **s3.storage_options())
    fs.put(str(tmp_path / "sparse"), f"{bucket}/sparse", recursive=True)
    with pytest.raises(cat.UnsupportedError, match="directory"):
        cat.open(f"s3://{bucket}/sparse", storage_options=s3.storage_options())


def test_an_old_version_stays_readable(s3, bucket):
    options = {**s3.storage_options(), "version_aware": True}
    fs = fsspec.filesystem("s3", **options)
    fs.call_s3(
        "put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    fs.pipe_file(f"{bucket}/a", FRAME)
    array = cat.open(f"s3://{bucket}/a", storage_options=options)
    fs.pipe_file(f"{bucket}/a", OTHER)
    np.testing.assert_array_equal(array[...], ITEMS)
