"""How large a request may be. Every limit is checked before anything of that size is allocated."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from powerplan_client._generated import v1 as pb


@dataclass(frozen=True, kw_only=True)
class WireLimits:
    """Limits of a request's content.

    Attributes:
        max_nodes: nodes in a network.
        max_network_elements: tensor elements in a network.
        max_name_length: characters in a name.
        max_inputs_bytes: bytes of the calibration inputs.
        max_file_bytes: bytes of a saved network.
        max_draws: draws of a simulation or verification.
        max_profile_gains: gains of a planning profile.
        max_profile_terms: power terms, and error terms, per gain of a planning profile.
        max_frontier_targets: targets of a frontier.
        max_iterations: iterations of a plan, of ten steps each.
    """

    max_nodes: int = 10_000
    max_network_elements: int = 200_000_000
    max_name_length: int = 256
    max_inputs_bytes: int = 256 * 2**20
    max_file_bytes: int = 2 * 2**30
    max_draws: int = 1_000_000
    max_profile_gains: int = 1_000_000
    max_profile_terms: int = 16
    max_frontier_targets: int = 1_000
    max_iterations: int = 10_000

    def to_proto(self) -> pb.ServerLimits:
        """The limits as GetServerInfo tells them; the server adds those of its own."""
        told = pb.ServerLimits.DESCRIPTOR.fields_by_name
        return pb.ServerLimits(**{name: limit for name, limit in asdict(self).items() if name in told})
