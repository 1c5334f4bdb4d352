"""Conversion between the messages of powerplan.v1 and the engine's values.

Readers (``*_from_proto``) trust nothing: sizes are checked against limits before anything is allocated, every
violation is collected under its path in the request, and only :class:`powerplan.errors.InvalidInput` comes out.
Writers (``*_to_proto``) lose nothing.
"""

from powerplan_server.wire.blobs import BlobResolver, FileBlobs, MemoryBlobs, blob_refs
from powerplan_server.wire.errors import BlobNotFound, FeatureUnavailable, TooLarge, reason_of
from powerplan_server.wire.limits import WireLimits
from powerplan_server.wire.reading import Reader

__all__ = [
    "BlobNotFound",
    "BlobResolver",
    "FeatureUnavailable",
    "FileBlobs",
    "MemoryBlobs",
    "Reader",
    "TooLarge",
    "WireLimits",
    "blob_refs",
    "reason_of",
]
