"""``powerplan serve --check``: whether a server could start with these settings, without starting one."""

from __future__ import annotations

import datetime as dt
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from powerplan.errors import CorruptFile, InvalidInput, MissingExtra, install_command
from powerplan.jobs.database import check_file
from powerplan_client.addresses import parse_address
from powerplan_server.certificates import Certificates, authority_until, valid_until
from powerplan_server.config import ServeConfig, is_served
from powerplan_server.jobs.sqlite import FORM
from powerplan_server.security import load_tokens
from powerplan_server.storage import is_locked, reserve_room

_SOON = dt.timedelta(days=14)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one thing: whether it serves, and in words."""

    what: str
    good: bool
    words: str


def check(config: ServeConfig) -> list[Finding]:
    """Everything that a start needs; the settings themselves have been checked when they were read."""
    return list(_findings(config))


def _findings(config: ServeConfig) -> Iterator[Finding]:
    for name in ("listen", "http_listen", "metrics_listen"):
        if address := getattr(config, name):
            yield _found(name, partial(_port, name, address))
    yield _found("tokens", lambda: _tokens(config))
    if config.tls_certificate:
        yield _found("tls_certificate", lambda: _certificate(config))
    if config.tls_client_ca:
        yield _found("tls_client_ca", lambda: _dated(authority_until(config), "serve.tls_client_ca"))
    yield from _kept(config)
    for setting, module, extra in (("http_listen", "connectrpc", "http"), ("otel_endpoint", "opentelemetry", "otel")):
        if getattr(config, setting):
            words = "installed" if find_spec(module) else f"not installed: {install_command(extra)}"
            yield Finding(what=f"{setting} needs {module}", good=find_spec(module) is not None, words=words)


def _kept(config: ServeConfig) -> Iterator[Finding]:
    """Where jobs and uploads are kept."""
    yield _found("data_dir", lambda: _data(config))
    if config.has_objects:
        yield _found("blob_store", lambda: _objects(config))
    elif config.blob_store:
        yield _found("blob_store", lambda: _folder(config.blob_path, "serve.blob_store", "a writable folder", config))
    if config.database:
        yield _found("database", lambda: _database(config))
    elif (config.data_path / "jobs.sqlite").exists():
        yield _found("jobs", lambda: _store(config.data_path / "jobs.sqlite"))


def _found(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what=what, good=True, words=look())
    except (InvalidInput, CorruptFile, MissingExtra) as error:
        return Finding(what=what, good=False, words=str(error))


def _port(name: str, address: str) -> str:
    where = parse_address(address, to_listen=True)
    if is_served(where.text):
        raise InvalidInput.of(f"serve.{name}", address, "a socket that nobody listens on", "Another server does.")
    for host, port in zip(where.hosts, where.ports, strict=True):
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            allowed = "an address of this machine that is not in use"
            raise InvalidInput.of(f"serve.{name}", address, allowed, f"{error.strerror}.") from error
    return f"{address} is free"


def _tokens(config: ServeConfig) -> str:
    count = len(load_tokens(config))
    if count:
        return f"{count} tenants"
    return "none: client certificates tell tenants" if config.tls_client_ca else "none: whoever connects is served"


def _certificate(config: ServeConfig) -> str:
    Certificates(config)
    return _dated(valid_until(config), "serve.tls_certificate")


def _dated(until: dt.datetime, field: str) -> str:
    left = until - dt.datetime.now(dt.UTC)
    if left <= dt.timedelta():
        raise InvalidInput.of(field, f"{until:%Y-%m-%d %H:%M} UTC", "a date to come", "It has expired: renew it.")
    soon = ": renew it soon" if left < _SOON else ""
    return f"valid until {until:%Y-%m-%d %H:%M} UTC, {left.days} days{soon}"


def _folder(folder: Path, field: str, wanted: str, config: ServeConfig) -> str:
    if folder.exists():
        near, words = folder, "can be written"
    else:
        near, words = next(parent for parent in folder.absolute().parents if parent.exists()), "will be made"
    try:
        if near != folder:
            os.rmdir(tempfile.mkdtemp(dir=near))  # root may write where no folder can be made, such as in /proc
        reserve_room(near, config.max_message)
    except OSError as error:
        where = "" if near == folder else f"{near} is no folder that can be written: "
        raise InvalidInput.of(field, str(folder), wanted, f"{where}{error.strerror}.") from error
    return f"{folder} {words}"


def _data(config: ServeConfig) -> str:
    folder, wanted = config.data_path, "a writable folder that no other server uses"
    found = _folder(folder, "serve.data_dir", wanted, config)
    if folder.exists() and is_locked(folder):
        raise InvalidInput.of("serve.data_dir", str(folder), wanted, "A server uses it now.")
    return found


def _objects(config: ServeConfig) -> str:
    try:
        from powerplan_server.blobs.objects import Objects
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "obstore", "cluster", "Sharing uploads in an object store") from error
    try:
        Objects(config.blob_store).try_writing()
    except OSError as error:
        allowed = "an object store that can be written"
        raise InvalidInput.of("serve.blob_store", config.blob_store, allowed, f"{error.strerror}.") from error
    return f"{config.blob_store} can be written"


def _database(config: ServeConfig) -> str:
    try:
        from powerplan_server.jobs.postgres import look_at
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "psycopg", "cluster", "Sharing jobs in a database") from error
    return look_at(config.database)


def _store(path: Path) -> str:
    check_file(path, FORM)
    return f"{path} is sound"
