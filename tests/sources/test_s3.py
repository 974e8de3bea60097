"""Objects of S3."""

from __future__ import annotations

import fsspec
import numpy as np
import pytest
import servers
from remote_arrays import FRAME, ITEMS, OTHER

import caterva_cffi as cat

s3fs = pytest.importorskip("s3fs")


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


def open_from(server, **options):
    once = {"retries": {"total_max_attempts": 1}}  # botocore's own
    client = {"endpoint_url": server.url, "region_name": "us-east-1"}
    given = {"key": "k", "secret": "s", "client_kwargs": client, "config_kwargs": once, **options}
    return cat.open("s3://b/a", storage_options=given)


def is_slow(asked):
    return servers.Answer(503, b"<Error><Code>SlowDown</Code><Message>wait</Message></Error>")


@pytest.mark.parametrize("worse", [servers.breaks_off, servers.hangs_up, is_slow])
def test_what_may_pass_is_asked_for_again(misbehaving, worse):
    server = misbehaving({"b/a": FRAME}, servers.from_number(1, worse, 2))
    np.testing.assert_array_equal(open_from(server)[...], ITEMS)


@pytest.mark.parametrize("worse", [servers.breaks_off, is_slow])
def test_as_often_as_s3fs_does(misbehaving, monkeypatch, worse):
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 3)
    server = misbehaving({"b/a": FRAME}, worse)
    with pytest.raises(cat.StorageError, match="b/a"):
        open_from(server)
    assert len(server.requests()) == 3


def test_other_errors_are_told_at_once(misbehaving):
    server = misbehaving({"b/a": FRAME}, servers.fails(403))
    with pytest.raises(PermissionError):
        open_from(server)
    assert len(server.requests()) == 1


def test_errors_that_the_user_names_may_pass(misbehaving, monkeypatch):
    monkeypatch.setattr("s3fs.core.CUSTOM_ERROR_HANDLER", lambda error: "500" in str(error))
    server = misbehaving({"b/a": FRAME}, servers.from_number(0, servers.fails(500), 2))
    np.testing.assert_array_equal(open_from(server)[0], ITEMS[0])


def test_options_of_all_requests(misbehaving):
    server = misbehaving({"b/a": FRAME})
    options = {"ExpectedBucketOwner": "somebody", "ContentType": "what only writers say"}
    open_from(server, requester_pays=True, s3_additional_kwargs=options)
    [headers, *_] = server.headers
    assert headers["x-amz-request-payer"] == "requester"
    assert headers["x-amz-expected-bucket-owner"] == "somebody"
    assert "what only writers say" not in headers.values()
