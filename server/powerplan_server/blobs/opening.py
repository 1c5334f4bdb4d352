"""The upload store that the settings name."""

from __future__ import annotations

from typing import Any

from powerplan.errors import MissingExtra
from powerplan_server.blobs.store import BlobStore
from powerplan_server.config import ServeConfig
from powerplan_server.storage import Storage


def open_blobs(config: ServeConfig, storage: Storage) -> BlobStore:
    """Open it.

    Raises:
        InvalidInput: it is no place for uploads.
        MissingExtra: it needs a package that is not installed.
    """
    limits: dict[str, Any] = {
        "quota": config.blob_quota,
        "largest": config.max_blob,
        "upload_retention": config.upload_retention,
    }
    if not config.has_objects:
        return BlobStore(config.blob_path, storage=storage, **limits)
    try:
        from powerplan_server.blobs.objects import Objects
        from powerplan_server.blobs.shared import SharedBlobs
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "obstore", "cluster", "Sharing uploads in an object store") from error
    return SharedBlobs(Objects(config.blob_store), config.blob_path, storage=storage, **limits)
