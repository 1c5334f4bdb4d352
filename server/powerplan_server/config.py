"""Settings of the server: one frozen value, from a TOML file, the environment and command-line options.

Precedence, highest first: command-line option, environment variable ``POWERPLAN_SERVE_<NAME>``, TOML key, default.
The names are the same everywhere (``queue_size``, ``POWERPLAN_SERVE_QUEUE_SIZE``, ``--queue-size``).
"""

from __future__ import annotations

import json
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from powerplan.checks import Checker, unknown_keys
from powerplan.errors import InvalidInput
from powerplan_client.addresses import LISTEN_FORMS, Address, AddressError, parse_address

ENVIRONMENT_PREFIX = "POWERPLAN_SERVE_"
_LOG_LEVELS = ("debug", "info", "warning", "error")
_MOST_MESSAGE = 2**31 - 1  # bytes that gRPC can count
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?\s*$", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}


def _option(default: Any, kind: str, text: str, *, secret: bool = False, low: float | None = None) -> Any:
    """A setting: ``kind`` is text, flag, count, seconds or bytes; a secret one has no command-line option."""
    return field(default=default, metadata={"kind": kind, "help": text, "secret": secret, "low": low})


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Every setting of the server. Build it with :func:`load_config`, or directly in tests.

    Sizes are bytes (as text also ``64MiB``, ``2GB``), times seconds; an empty text means "not set".

    Raises:
        InvalidInput: when built with values out of range or that contradict each other; lists all of them.
    """

    listen: str = _option("127.0.0.1:50051", "text", "address HOST:PORT (port 0 picks a free one) or unix:PATH")
    http_listen: str = _option("", "text", "address HOST:PORT for HTTP and JSON (the Connect protocol) beside gRPC")
    http_origins: str = _option("", "text", "web pages that may call over HTTP: origins, separated by commas; * is any")
    insecure: bool = _option(False, "flag", "allow listening beyond loopback without TLS")
    tls_certificate: str = _option("", "text", "PEM file with the server's certificate chain; turns TLS on")
    tls_key: str = _option("", "text", "PEM file with the private key of tls_certificate")
    tls_client_ca: str = _option("", "text", "PEM file of the authority that must have signed client certificates")
    token_file: str = _option("", "text", "file of bearer tokens, one 'name:token' a line; each name is a tenant")
    tokens: str = _option("", "text", "bearer tokens 'name:token', separated by commas", secret=True)
    data_dir: str = _option("", "text", "folder for uploads and jobs; default: ~/.local/state/powerplan")
    database: str = _option("", "text", "postgresql://USER@HOST/NAME for jobs that several servers share")
    blob_store: str = _option("", "text", "uploads that several servers share: a folder, or s3://BUCKET/PREFIX")
    workers: int = _option(os.cpu_count() or 1, "count", "worker processes, one calculation each", low=1)
    worker_memory: int = _option(4 * 2**30, "bytes", "data memory a worker may allocate", low=256 * 2**20)
    worker_max_requests: int = _option(200, "count", "calculations after which a worker is replaced", low=1)
    queue_size: int = _option(64, "count", "requests that may wait for a worker", low=0)
    queue_bytes: int = _option(256 * 2**20, "bytes", "request bytes that may wait for a worker", low=0)
    tenant_workers: int = _option(0, "count", "direct calls, and jobs, of one tenant that run at once; 0: all", low=0)
    tenant_queue_size: int = _option(0, "count", "requests of one tenant that may wait; 0: queue_size", low=0)
    max_message: int = _option(4 * 2**20, "bytes", "largest gRPC message received", low=2**16)
    max_nodes: int = _option(2000, "count", "most nodes in a network", low=1)
    max_network_elements: int = _option(500_000_000, "count", "most tensor elements in a network", low=1)
    max_inputs: int = _option(256 * 2**20, "bytes", "largest calibration inputs", low=1)
    max_draws: int = _option(1_000_000, "count", "most Monte Carlo draws in a request", low=1)
    max_profile_gains: int = _option(1_000_000, "count", "most gains of a planning profile", low=1)
    max_frontier_targets: int = _option(1000, "count", "most targets of a frontier", low=1)
    max_iterations: int = _option(10_000, "count", "most iterations of a plan", low=1)
    max_solve_seconds: float = _option(300.0, "seconds", "longest a direct call may calculate", low=0.01)
    max_job_seconds: float = _option(3600.0, "seconds", "longest a submitted job may calculate", low=0.01)
    job_workers: int = _option(0, "count", "workers that jobs may hold at once; 0: all but one, at least one", low=0)
    job_queue_size: int = _option(1000, "count", "unfinished jobs accepted", low=1)
    tenant_job_queue_size: int = _option(0, "count", "unfinished jobs of one tenant; 0: job_queue_size", low=0)
    job_quota: int = _option(
        2**30, "bytes", "ended jobs kept of one tenant, 1 KiB and its outcome each; the oldest leave", low=1
    )
    job_retention: float = _option(7 * 86400.0, "seconds", "how long a finished job is kept", low=1)
    max_blob: int = _option(2 * 2**30, "bytes", "largest upload", low=1)
    blob_quota: int = _option(10 * 2**30, "bytes", "upload store of one tenant; least recently used leave", low=1)
    upload_retention: float = _option(86400.0, "seconds", "how long an unfinished upload can be resumed", low=1)
    cache_size: int = _option(64 * 2**20, "bytes", "memory for answers to repeated requests; 0 turns it off", low=0)
    metrics_listen: str = _option("", "text", "address HOST:PORT of the Prometheus endpoint")
    otel_endpoint: str = _option("", "text", "OTLP/HTTP endpoint for OpenTelemetry traces")
    reflection: bool = _option(True, "flag", "offer gRPC server reflection")
    grace: float = _option(30.0, "seconds", "time that running requests get after SIGTERM", low=0)
    message_timeout: float = _option(60.0, "seconds", "time that one message of a call may take to arrive", low=0.1)
    max_connections: int = _option(
        2000, "count", "connections held at once, by gRPC and by HTTP each; further ones are closed", low=1
    )
    keepalive: float = _option(30.0, "seconds", "idle time after which a connection is pinged", low=1)
    keepalive_timeout: float = _option(10.0, "seconds", "time a ping may stay unanswered", low=0.1)
    max_connection_age: float = _option(3600.0, "seconds", "age after which a connection is asked to move on", low=1)
    log_level: str = _option("info", "text", "debug, info, warning or error")

    def __post_init__(self) -> None:
        check = Checker("serve.")
        for option in fields(self):
            value, low = getattr(self, option.name), option.metadata["low"]
            kind = option.metadata["kind"]
            if kind in ("count", "bytes") and (not isinstance(value, int) or isinstance(value, bool)):
                check.fail(option.name, value, "a whole number", f"Give {option.name} as a whole number.")
            elif low is not None:
                check.number(option.name, value, at_least=low)
        self._check_addresses(check)
        if self.max_message > _MOST_MESSAGE:
            check.fail("max_message", self.max_message, f"at most {_MOST_MESSAGE}", "Uploads carry what is larger.")
        self._check_shared(check)
        if self.log_level not in _LOG_LEVELS:
            check.fail("log_level", self.log_level, ", ".join(_LOG_LEVELS), "Use one of these.")
        if bool(self.tls_certificate) != bool(self.tls_key):
            check.fail("tls_key", self.tls_key, "given together with tls_certificate", "Give both or neither.")
        if self.tls_client_ca and not self.tls_certificate:
            check.fail("tls_client_ca", self.tls_client_ca, "given only with tls_certificate", "Turn TLS on first.")
        check.done()

    def _check_shared(self, check: Checker) -> None:
        if not self.database:
            return
        scheme, _, rest = self.database.partition("://")
        if scheme not in ("postgresql", "postgres"):
            check.fail("database", self.database, "postgresql://USER@HOST/NAME", "It is a connection URI of libpq.")
        if ":" in rest.partition("/")[0].rpartition("@")[0] or "password=" in rest:
            why = "Give it as PGPASSWORD, or in the file that PGPASSFILE names."
            check.fail("database", f"{scheme}://... (not shown)", "given without the password", why)
        if not self.blob_store:
            why = "A job may run on another server than the one that has its uploads."
            check.fail("blob_store", self.blob_store, "given together with database", why)

    @property
    def blob_path(self) -> Path:
        """The folder for uploads; with an object store, for copies of them."""
        return self.data_path / "blobs" if not self.blob_store or self.has_objects else Path(self.blob_store)

    @property
    def has_objects(self) -> bool:
        """Whether uploads are in an object store."""
        return "://" in self.blob_store

    def _check_addresses(self, check: Checker) -> None:
        addresses = {
            name: _address(check, name, getattr(self, name))
            for name in ("listen", "http_listen", "metrics_listen")
            if getattr(self, name) or name == "listen"
        }
        for name, address in addresses.items():
            if address is None:
                continue
            if name != "listen" and not address.hosts:
                check.fail(name, address.text, "HOST:PORT", "It is for HTTP.")
            if name != "metrics_listen" and not (self.tls_certificate or self.insecure or address.is_loopback):
                check.fail(
                    name,
                    address.text,
                    "a loopback address, unless TLS is on",
                    "Give tls_certificate and tls_key, or accept unencrypted traffic with --insecure.",
                )
        if self.http_listen and self.tls_client_ca and not (self.token_file or self.tokens):
            why = "Over HTTP callers are known by tokens only."
            check.fail("http_listen", self.http_listen, "given with tokens where clients have certificates", why)

    @property
    def data_path(self) -> Path:
        """The folder for uploads and jobs."""
        if self.data_dir:
            return Path(self.data_dir)
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return Path(state) / "powerplan"

    @property
    def concurrent_jobs(self) -> int:
        """How many workers jobs may hold at once; one is left for direct calls where there are several."""
        return min(self.job_workers or max(1, self.workers - 1), self.workers)

    def to_toml(self) -> str:
        """The settings as a TOML document with comments; secrets are masked."""
        lines = []
        for option in fields(self):
            value = getattr(self, option.name)
            if option.metadata["secret"]:
                lines.append(f"# {option.name}: {'set, not shown' if value else 'not set'} (environment only)")
                continue
            text = json.dumps(value)  # strings, numbers and booleans are written alike in JSON and TOML
            lines.append(f"{option.name} = {text}  # {option.metadata['help']}")
        return "\n".join(lines) + "\n"


def _address(check: Checker, name: str, text: str) -> Address | None:
    """The address of a setting; None, noted, if it is none."""
    try:
        return parse_address(text, to_listen=True)
    except AddressError as error:
        check.fail(name, error.shown, LISTEN_FORMS, f"{error.reason} {error.advice}")
        return None


def is_loopback(address: str) -> bool:
    """Whether an address to listen on can only be reached from this machine."""
    return parse_address(address, to_listen=True).is_loopback


def is_served(address: str) -> bool:
    """Whether somebody listens on a socket of the file system, which gRPC would take away from him."""
    scheme, _, path = address.partition(":")
    if scheme != "unix":
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path.removeprefix("//")) == 0


def options() -> tuple[Field[Any], ...]:
    """The settings with their metadata (kind, help, secret), for the command line and the docs."""
    return fields(ServeConfig)


def load_config(
    toml: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> ServeConfig:
    """The settings by precedence: ``overrides``, then the environment, then the TOML file, then the defaults.

    Raises:
        InvalidInput: unknown names (with the nearest valid one), values that cannot be read or are out of range.
    """
    known = {option.name: option for option in fields(ServeConfig)}
    values: dict[str, Any] = {}
    check = Checker("serve.")
    if toml is not None:
        table = _read_toml(Path(toml))
        unknown_keys(check, table, (n for n, o in known.items() if not o.metadata["secret"]))
        values |= {key: value for key, value in table.items() if key in known}
    settings = {
        key[len(ENVIRONMENT_PREFIX) :].lower(): value
        for key, value in (os.environ if environment is None else environment).items()
        if key.startswith(ENVIRONMENT_PREFIX) and key != ENVIRONMENT_PREFIX + "CONFIG"
    }
    unknown_keys(check, settings, known)
    values |= {key: value for key, value in settings.items() if key in known}
    values |= {key: value for key, value in (overrides or {}).items() if value is not None}
    check.done()
    read = {key: _convert(check, known[key], value) for key, value in values.items()}
    check.done()
    return ServeConfig(**read)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidInput.of("config", str(path), "a readable TOML file", f"{error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput.of("config", str(path), "a TOML document", f"The parser says: {error}.") from error


def _convert(check: Checker, option: Field[Any], value: Any) -> Any:
    kind = option.metadata["kind"]
    try:
        return _CONVERTERS[kind](value)
    except (TypeError, ValueError):
        shown = "(not shown)" if option.metadata["secret"] else value
        check.fail(option.name, shown, _KINDS[kind], f"Give {option.name} as {_KINDS[kind]}.")
        return None


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
        raise ValueError(value)
    return word in {"1", "true", "yes", "on"}


def _count(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise TypeError(value)
    return int(value)


def _bytes(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.match(str(value))
    if not match:
        raise ValueError(value)
    return round(float(match[1]) * _SIZE_UNITS[(match[2] or "").upper()])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    return float(value)


_CONVERTERS = {"text": _text, "flag": _flag, "count": _count, "bytes": _bytes, "seconds": _seconds}
_KINDS = {
    "text": "a text",
    "flag": "true or false",
    "count": "a whole number",
    "bytes": "a size such as 1048576 or 64MiB",
    "seconds": "a number of seconds",
}
