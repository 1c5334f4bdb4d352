"""Uploaded content, addressed by its SHA-256, one namespace per tenant.

:mod:`.store` keeps it in a folder, which servers may share; :mod:`.shared` in an object store (:mod:`.objects`), with
copies in the folder; :mod:`.upload` is what arrives in parts.
"""

from powerplan_server.blobs.opening import open_blobs
from powerplan_server.blobs.store import BlobState, BlobStore, check_sha256
from powerplan_server.blobs.upload import Upload

__all__ = ["BlobState", "BlobStore", "Upload", "check_sha256", "open_blobs"]
