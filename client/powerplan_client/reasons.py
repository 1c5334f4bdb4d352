"""Failures that the planning service did not make but what lies before it: the reason in words, and what to do.

gRPC tells these apart by its text alone. Of a name with several addresses, as localhost, it tells one failure.
"""

from __future__ import annotations

from powerplan_client.settings import Settings

_NO_PLANNER = "What answers there is no planning server: check the address and the port."
_PROXY = "The HTTP proxy of the environment refuses. List the server in no_proxy if it can be reached without."
#: part of gRPC's text -> what is behind it
_REASONS = {
    "WRONG_VERSION_NUMBER": "The server does not speak TLS. Leave out the certificates, and for a server that is not "
    "on this machine give insecure=True (no token then: it could be read on the way).",
    "CERTIFICATE_VERIFY_FAILED": "The server's certificate is not signed by a trusted authority. Give the authority's "
    "PEM as root_certificates.",
    "Hostname Verification": "The server's certificate is for another host name. Use a name that it holds.",
    "Failed to create security handshaker": "The certificates cannot be used: check that each is whole, and that "
    "client_key belongs to client_certificate.",
    "Expected SETTINGS": _NO_PLANNER,
    "http1.x server": _NO_PLANNER,
    "http2 header": _NO_PLANNER,
    "Method not found": "The server does not have this call: it is no planning server, or an older one.",
    "Received message larger": "The request is larger than the server takes. Keep to the limits of server_info.",
    "HTTP CONNECT": _PROXY,
    "proxy": _PROXY,
    "lookup failed": "The host name has no address. Check the spelling.",
    "Connection refused": "Nothing listens there. Check host and port, and that powerplan serve runs.",
    "No such file": "There is no such socket. Check the path, and that powerplan serve runs.",
    "Deadline Exceeded": "Give a larger timeout, or submit a job.",
}
#: what gRPC calls a connection that has ended
_CLOSED = ("Socket closed", "reset by peer", "Stream removed", "Broken pipe")
_PLAIN_CLOSED = (
    "The server ends the connection at once. If it speaks TLS, give root_certificates (insecure=False if its "
    "certificate is publicly trusted); otherwise check the address."
)
_TLS_CLOSED = (
    "The server ends the connection at once. If it wants client certificates, give client_certificate and client_key "
    "of an authority that it trusts; otherwise check the address."
)
_ONE_REFUSED = (
    "Nothing listens at one of its addresses. Check host and port, and that powerplan serve runs; with an IP address "
    "in place of the name the message says more."
)
_BROKEN = "The connection broke during the call: the server, or something on the way, ended. Try again."


def explained(message: str, settings: Settings) -> str:
    """gRPC's message with the server's address, the reason in words and what to do, where they are known."""
    advice = next((text for part, text in _REASONS.items() if part in message), "")
    if not advice and any(part in message for part in _CLOSED):
        refused = "to all" in message  # addresses or backends, else the connection was there
        advice = _BROKEN if not refused else _PLAIN_CLOSED if settings.is_plain else _TLS_CLOSED
    elif "Connection refused" in message and not settings.address.is_literal:
        advice = _ONE_REFUSED
    return f"{settings.target}: {advice} ({message.rstrip('.!')}.)" if advice else message
