"""The files of TLS: checked, read again when they change, and until when they hold.

A certificate is renewed by writing its files anew: new connections get the new one, those that exist stay. Files that
cannot be used (half written, of another key) are said in the log, and the ones before them serve on.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc

from powerplan.errors import InvalidInput
from powerplan_server.config import ServeConfig

log = logging.getLogger(__name__)

_FILES = ("tls_certificate", "tls_key", "tls_client_ca")
_NO_PASSWORD = ""


class Certificates:
    """The certificate of a server, with TLS.

    Args:
        config: the settings, with ``tls_certificate``.

    Attributes:
        version: rises with every change of the files that was taken over.

    Raises:
        InvalidInput: files that cannot be read, or are no certificates and the key of the first.
    """

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self._lock = threading.Lock()  # gRPC asks from its own threads
        self._stamp = self._written()
        self._content = _checked(config)
        self.version = 0

    def credentials(self) -> grpc.ServerCredentials:
        """For gRPC, which asks at every handshake whether there is a new certificate."""
        used = self.version

        def newer() -> grpc.ServerCertificateConfiguration | None:
            nonlocal used
            if self.look() == used:
                return None
            used = self.version
            return self._content

        return grpc.dynamic_ssl_server_credentials(
            self._content,
            newer,  # type: ignore[arg-type]  # None: as before
            require_client_authentication=bool(self._config.tls_client_ca),
        )

    def look(self) -> int:
        """Take over what has changed; returns the version that holds now."""
        with self._lock:
            stamp = self._written()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._content = _checked(self._config)
                except InvalidInput as error:
                    log.error("the new certificate cannot be used; the old one stays", extra={"error": str(error)})
                else:
                    self.version += 1
                    log.info("a new certificate is used", extra={"valid_until": str(valid_until(self._config))})
            return self.version

    def _written(self) -> tuple[object, ...]:
        """What changes when a file is written or replaced."""
        facts: list[object] = []
        for path in filter(None, (getattr(self._config, name) for name in _FILES)):
            with suppress(OSError):  # it is being replaced
                found = os.stat(path)
                facts.append((path, found.st_mtime_ns, found.st_ino, found.st_size))
        return tuple(facts)


def valid_until(config: ServeConfig) -> dt.datetime:
    """Until when the certificate of a server holds, found by a handshake in memory.

    Raises:
        InvalidInput: it does not hold now: it has expired, or is not valid yet.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(config.tls_certificate, config.tls_key, password=lambda: _NO_PASSWORD)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is what is trusted
    client.load_verify_locations(config.tls_certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
    try:
        for end in (*ends, *ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        wanted = "a certificate that holds now"
        raise InvalidInput.of("serve.tls_certificate", config.tls_certificate, wanted, error.verify_message) from error
    return _time((ends[0].getpeercert() or {})["notAfter"])


def authority_until(config: ServeConfig) -> dt.datetime:
    """Until when the last authority of client certificates holds."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(config.tls_client_ca)
    return max(_time(certificate["notAfter"]) for certificate in context.get_ca_certs())


def _checked(config: ServeConfig) -> grpc.ServerCertificateConfiguration:
    """The content of the files, if it can be used."""
    authority = read(config.tls_client_ca, "tls_client_ca") if config.tls_client_ca else None
    pair = (read(config.tls_key, "tls_key"), read(config.tls_certificate, "tls_certificate"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with _refusing(
        "tls_certificate", config.tls_certificate, "PEM files of a certificate and of its key, not encrypted"
    ):
        context.load_cert_chain(config.tls_certificate, config.tls_key, password=lambda: _NO_PASSWORD)
    with _refusing("tls_client_ca", config.tls_client_ca, "a PEM file of certificates"):
        if authority:
            context.load_verify_locations(config.tls_client_ca)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=authority)


@contextmanager
def _refusing(field: str, path: str, wanted: str) -> Iterator[None]:
    """What OpenSSL cannot read is the setting's fault; gRPC would only say that it cannot listen."""
    try:
        yield
    except ssl.SSLError as error:
        raise InvalidInput.of(f"serve.{field}", path, wanted, f"OpenSSL says: {error.reason or error}.") from error


def read(path: str, field: str) -> bytes:
    """The content of a file that a setting names.

    Raises:
        InvalidInput: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidInput.of(f"serve.{field}", path, "a readable file", f"{error.strerror}.") from error


def _time(text: object) -> dt.datetime:
    return dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(str(text)), dt.UTC)
