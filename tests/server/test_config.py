"""Settings: precedence, names, kinds, and what is refused."""

from __future__ import annotations

import socket
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from powerplan.cli import main
from powerplan.errors import InvalidInput
from powerplan_client._generated import v1
from powerplan_client._generated.planner_service_pb2_grpc import PlannerServiceStub
from powerplan_server.config import ServeConfig, is_loopback, load_config, options


def test_option_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text("queue_size = 1\nworkers = 2\ngrace = 3.0\n")
    environment = {"POWERPLAN_SERVE_WORKERS": "4", "POWERPLAN_SERVE_GRACE": "5", "OTHER": "x"}
    config = load_config(file, environment, {"grace": "6", "insecure": None})
    assert (config.queue_size, config.workers, config.grace) == (1, 4, 6.0)
    assert config.keepalive == ServeConfig().keepalive


@pytest.mark.parametrize(
    ("text", "value"), [("64MiB", 64 * 2**20), ("2GB", 2 * 10**9), ("1048576", 2**20), ("1.5 KiB", 1536)]
)
def test_sizes_may_have_units(text: str, value: int) -> None:
    assert load_config(None, {}, {"queue_bytes": text}).queue_bytes == value


@pytest.mark.parametrize(
    ("given", "field", "hint"),
    [
        ({"worker": "2"}, "serve.worker", "'workers'"),
        ({"WORKERS": "x"}, "serve.workers", "whole number"),
        ({"workers": "0"}, "serve.workers", ">= 1"),
        ({"workers": "1.5"}, "serve.workers", "whole number"),
        ({"grace": "nan"}, "serve.grace", "finite"),
        ({"queue_bytes": "7 parsecs"}, "serve.queue_bytes", "64MiB"),
        ({"reflection": "maybe"}, "serve.reflection", "true or false"),
        ({"listen": "50051"}, "serve.listen", "HOST:PORT"),
        ({"listen": "localhost:99999"}, "serve.listen", "HOST:PORT"),
        ({"listen": "localhost"}, "serve.listen", "Did you mean 'localhost:50051'"),
        ({"listen": "http://localhost:1"}, "serve.listen", "Did you mean 'localhost:1'"),
        ({"listen": "::1:50051"}, "serve.listen", "brackets"),
        ({"listen": "dns:///localhost:1"}, "serve.listen", "cannot listen on dns:"),
        ({"listen": "a:1,b:1"}, "serve.listen", "several"),
        ({"metrics_listen": "localhost:"}, "serve.metrics_listen", "HOST:PORT"),
        ({"metrics_listen": "unix:/tmp/metrics"}, "serve.metrics_listen", "HTTP"),
        ({"max_message": "3GB"}, "serve.max_message", "Uploads"),
        ({"listen": "0.0.0.0:1"}, "serve.listen", "--insecure"),
        ({"listen": "example.com:1"}, "serve.listen", "--insecure"),
        ({"tls_key": "k"}, "serve.tls_key", "together"),
        ({"tls_client_ca": "c"}, "serve.tls_client_ca", "tls_certificate"),
        ({"log_level": "loud"}, "serve.log_level", "debug"),
        ({"database": "mysql://a@b/c", "blob_store": "/x"}, "serve.database", "postgresql://USER@HOST/NAME"),
        ({"database": "postgresql://a:secret@b/c", "blob_store": "/x"}, "serve.database", r"not shown.*PGPASSWORD"),
        ({"database": "postgresql://b/c?password=secret", "blob_store": "/x"}, "serve.database", "PGPASSFILE"),
        ({"database": "postgresql://a@b/c"}, "serve.blob_store", "given together with database"),
    ],
)
def test_bad_settings_name_the_field_and_the_next_step(given: dict[str, str], field: str, hint: str) -> None:
    environment = {f"POWERPLAN_SERVE_{name.upper()}": value for name, value in given.items()}
    with pytest.raises(InvalidInput, match=hint) as refused:
        load_config(None, environment)
    assert refused.value.violations[0].field == field


def test_all_violations_are_listed_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        ServeConfig(workers=0, queue_size=-1, log_level="x", listen="nowhere")
    assert len(refused.value.violations) == 4


def test_beyond_loopback_only_with_tls_or_on_demand() -> None:
    assert all(is_loopback(a) for a in ("127.0.0.1:1", "localhost:1", "[::1]:1", "127.8.8.8:1"))
    assert not any(is_loopback(a) for a in ("0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example.com:1"))
    assert ServeConfig(listen="0.0.0.0:1", insecure=True).insecure
    assert ServeConfig(listen="0.0.0.0:1", tls_key="k", tls_certificate="c").tls_key


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("= nonsense")
    (tmp_path / "secret.toml").write_text('tokens = "a:0123456789abcdef"')
    for name, hint in (("bad.toml", "parser"), ("none.toml", "No such file"), ("secret.toml", "tokens")):
        with pytest.raises(InvalidInput, match=hint):
            load_config(tmp_path / name, {})


def test_printed_settings_can_be_read_again_and_hide_secrets(tmp_path: Path) -> None:
    environment = {
        "POWERPLAN_SERVE_TOKENS": "alice:0123456789abcdef",
        "POWERPLAN_SERVE_QUEUE_BYTES": "1MiB",
        "POWERPLAN_SERVE_WORKERS": "3",
    }
    result = CliRunner().invoke(main, ["serve", "--print-config", "--grace", "7"], env=environment)
    assert result.exit_code == 0
    assert "0123456789abcdef" not in result.output
    file = tmp_path / "printed.toml"
    file.write_text(result.output)
    config = load_config(file, {})
    assert (config.queue_bytes, config.workers, config.grace) == (2**20, 3, 7.0)
    assert set(tomllib.loads(result.output)) == {o.name for o in options() if not o.metadata["secret"]}


def test_every_setting_is_documented() -> None:
    """With its name and its meaning in the words of the command's help."""
    text = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    documented = {row[0].strip("| `"): row[-1].rstrip(" |") for row in rows}
    assert {o.name: o.metadata["help"] for o in options()}.items() <= documented.items()


def test_serve_refuses_on_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["serve", "--listen", "0.0.0.0:1"])
    assert result.exit_code == 2
    assert "--insecure" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_two_servers_cannot_share_a_data_folder(start: Callable[..., Any]) -> None:
    first = start(workers=1)
    with pytest.raises(InvalidInput, match="no other server"):
        start(workers=1, data_dir=first.config.data_dir)


def test_port_in_use_is_named(start: Callable[..., Any]) -> None:
    first = start(workers=1)
    with pytest.raises(InvalidInput, match="not in use"):
        start(workers=1, listen=f"127.0.0.1:{first.server.port}")


def test_a_socket_is_served_to_this_machine_alone(start: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "planner.sock"
    start(workers=1, listen=f" unix:{path} ")
    with grpc.insecure_channel(f"unix:{path}") as channel:
        assert PlannerServiceStub(channel).GetServerInfo(v1.GetServerInfoRequest(), timeout=10).server_version
    with pytest.raises(InvalidInput, match="nobody listens on"):  # the first server keeps its socket
        start(workers=1, listen=f"unix://{path}", data_dir=str(tmp_path / "other"))
    assert path.is_socket()


@pytest.mark.parametrize("address", ["ipv4:127.0.0.1:0", " 127.0.0.1:0 ", "[::ffff:127.0.0.1]:0"])
def test_other_forms_of_addresses_are_bound(start: Callable[..., Any], address: str) -> None:
    assert start(workers=1, listen=address).health() == 1


def test_times_beyond_what_grpc_counts_are_no_limit(start: Callable[..., Any]) -> None:
    server = start(workers=1, keepalive=1e12, max_connection_age=1e15, max_solve_seconds=1e12)
    assert server.health() == 1


def test_metrics_at_an_address_in_use_are_named(start: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InvalidInput, match=r"serve\.metrics_listen"):
        start(workers=1, metrics_listen=f"127.0.0.1:{taken.getsockname()[1]}")
