"""Addresses: what is one, which are this machine, and what those who give something else are told."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

import powerplan_client as pc
from powerplan_client.addresses import AddressError, parse_address
from powerplan_client.settings import Settings


@pytest.mark.parametrize(
    "text",
    [
        "localhost:50051",
        "LOCALHOST:50051",
        "localhost.:50051",
        " localhost:50051\n",
        "127.0.0.1:1",
        "127.8.9.10:65535",
        "[::1]:50051",
        "[::ffff:127.0.0.1]:50051",
        "dns:localhost:50051",
        "dns:///localhost:50051",
        "ipv4:127.0.0.1:50051",
        "ipv4:127.0.0.1:50051,127.0.0.2:50052",
        "ipv6:[::1]:50051",
        "unix:relative.sock",
        "unix:/run/powerplan.sock",
        "unix:///run/powerplan.sock",
        "unix-abstract:powerplan",
    ],
)
def test_addresses_of_this_machine_are_plain_text(text: str) -> None:
    settings = Settings(target=text, token="0123456789abcdef")
    assert settings.is_plain
    assert not settings.takes_proxy
    assert settings.target == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "planner:50051",
        "planner.example.com:50051",
        "10.0.0.1:50051",
        "0.0.0.0:50051",
        "[2001:db8::1]:50051",
        "[fe80::1%eth0]:50051",
        "localhost.example.com:50051",
        "dns:///planner:50051",
        "dns://192.0.2.53/localhost:50051",  # who knows what that name server says
        "ipv4:127.0.0.1:50051,10.0.0.1:50051",
        "xds:///planner",
    ],
)
def test_other_addresses_have_tls(text: str) -> None:
    settings = Settings(target=text)
    assert not settings.is_plain
    with pytest.raises(pc.InvalidRequest, match="plain text"):
        Settings(target=text, token="0123456789abcdef", insecure=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Nothing"),
        ("  ", "Nothing"),
        ("localhost", "port is missing. Did you mean 'localhost:50051'?"),
        ("planner:", "Did you mean 'planner:50051'?"),
        (":50051", "host is missing"),
        ("50051", "neither a host name"),
        ("planner:0", "1 to 65535"),
        ("planner:70000", "1 to 65535"),
        ("planner:-1", "1 to 65535"),
        ("planner:five", "1 to 65535"),
        ("planner:٥٠", "1 to 65535"),
        ("planner:" + "9" * 5000, "1 to 65535"),
        ("http://planner:50051", "Did you mean 'planner:50051'?"),
        ("https://planner:50051/", "Did you mean 'planner:50051'?"),
        ("grpc://planner", "Did you mean 'planner:50051'?"),
        ("planner:50051/", "no path. Did you mean 'planner:50051'?"),
        ("planner:50051/v1?x#y", "no path. Did you mean 'planner:50051'?"),
        ("a b:1", "no blanks"),
        ("planner:50\x0051", "no blanks"),
        ("a:1,b:2", "several addresses"),
        ("::1", "brackets. Did you mean '[::1]:50051'?"),
        ("::1:50051", "brackets. Did you mean '[::1]:50051'?"),
        ("[::1]", "Did you mean '[::1]:50051'?"),
        ("[127.0.0.1]:50051", "Brackets"),
        ("[::1:50051", "Brackets"),
        ("127.1:50051", "nor an IP address"),
        ("2130706433:50051", "nor an IP address"),
        ("256.0.0.1:50051", "nor an IP address"),
        ("0x7f.0.0.1:50051", "nor an IP address"),
        ("bücher:50051", "ASCII"),
        ("-planner:50051", "neither a host name"),
        ("a..b:50051", "neither a host name"),
        ("ipv4:localhost:50051", "no ipv4 address"),
        ("ipv4:127.0.0.1", "Did you mean 'ipv4:127.0.0.1:50051'?"),
        ("ipv6:::1", "brackets"),
        ("unix:", "needs a path"),
        ("unix://relative", "needs a path"),
        ("unix:/" + "a" * 120, "107 bytes"),
        (50051, "a text"),
        (b"localhost:50051", "a text"),
    ],
)
def test_what_is_no_address_is_refused_with_what_was_meant(text: object, said: str) -> None:
    for kind in (pc.PlannerClient, pc.AsyncPlannerClient):
        with pytest.raises(pc.InvalidRequest) as caught:
            kind(text)  # type: ignore[arg-type]
        assert caught.value.violations[0].field == "target"
        assert all(part in str(caught.value) for part in said.split(". "))
        assert "HOST:PORT" in str(caught.value)


def test_passwords_in_addresses_are_not_shown() -> None:
    for text in ("user:secret@planner:50051", "http://user:secret@planner:50051/x"):
        with pytest.raises(pc.InvalidRequest, match="Did you mean 'planner:50051'") as caught:
            pc.PlannerClient(text)
        assert "secret" not in str(caught.value)


def test_the_environment_is_read_like_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERPLAN_TARGET", "http://planner:50051")
    with pytest.raises(pc.InvalidRequest, match="POWERPLAN_TARGET in the environment"):
        pc.PlannerClient()
    with pytest.raises(pc.InvalidRequest, match="got ''"):  # an empty argument is not a missing one
        pc.PlannerClient("")


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::]:50051", "[::]:50051"),
        ("ipv4:127.0.0.1:0", "127.0.0.1:0"),  # a gRPC server does not know ipv4:
        ("ipv6:[::1]:50051", "[::1]:50051"),
        ("unix:/run/powerplan.sock", "unix:/run/powerplan.sock"),
    ],
)
def test_addresses_to_listen_on(text: str, bound: str) -> None:
    assert parse_address(text, to_listen=True).text == bound


@pytest.mark.parametrize("text", ["dns:///localhost:50051", "xds:///planner", "ipv4:127.0.0.1:1,127.0.0.2:1"])
def test_nobody_listens_on_names_of_many(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text, to_listen=True)


PARTS = ["localhost", "127.0.0.1", "[::1]", "unix:", "ipv4:", "dns://", "http://", ":", "/", "@", ",", "%"]
PIECES = st.sampled_from(PARTS) | st.text(max_size=6) | st.integers(-1, 70_000).map(str)


@pytest.mark.slow
@given(st.lists(PIECES, max_size=6).map("".join), st.booleans())
def test_any_text_is_an_address_or_is_refused(text: str, to_listen: bool) -> None:
    try:
        address = parse_address(text, to_listen=to_listen)
    except AddressError:
        return
    assert address.is_socket or all(0 <= port < 2**16 for port in address.ports)
    assert parse_address(address.text, to_listen=to_listen) == address
