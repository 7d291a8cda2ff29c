"""Where a store lies: a local folder, or a prefix of a bucket. Both offer ``base.Folder``."""

from __future__ import annotations

from pathlib import Path

from g2v_dask.errors import StoreError
from g2v_dask.folders.base import Folder, json_bytes, read_json, write_json
from g2v_dask.folders.local import LocalFolder

__all__ = ["Folder", "LocalFolder", "json_bytes", "open_folder", "read_json", "write_json"]


def open_folder(url: str | Path) -> Folder:
    """The folder of a path, of ``file://`` or of ``s3://bucket/prefix[?endpoint_url=...]``; it need not exist.

    Raises: StoreError for another scheme.
    """
    text = str(url)
    scheme, mark, _ = text.partition("://")
    if mark and scheme == "s3":
        from g2v_dask.folders.s3 import S3Folder  # noqa: PLC0415  (an extra, and half a second)

        return S3Folder.of(text)
    if mark and scheme != "file":
        msg = f"a store is a local folder or s3://bucket/prefix; {scheme}:// is not supported"
        raise StoreError(msg)
    return LocalFolder(Path(text.removeprefix("file://")).expanduser().absolute())
