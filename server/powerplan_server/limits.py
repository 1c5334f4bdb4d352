"""What a request may ask for, checked on the message itself before anything is queued or allocated.

Sizes are computed from the announced shapes with Python's unbounded integers, so a product cannot overflow. The walk is
bounded, so that a hostile message cannot hold up the server. Whether bytes and shapes agree and whether the graph makes
sense is found out by the worker that reads the request, under the same limits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from powerplan.jobs.contents import SHA256
from powerplan_client._generated import v1
from powerplan_server.config import ServeConfig
from powerplan_server.errors import FieldViolation, Reason, invalid_fields
from powerplan_server.rpc import REQUEST_ID
from powerplan_server.wire.limits import WireLimits

_TENSORS_PER_NODE = 4
_COPIES = 6  # of weights and activations in memory at once: wire, numpy, torch, gradients
_PROFILE_TENSORS = ("power_coefficients_watts", "mse_coefficients", "lower", "upper")

Calculation = v1.PlanRequest | v1.PredictRequest | v1.SimulateRequest | v1.FrontierRequest | v1.SubmitPlanRequest


def wire_limits(config: ServeConfig) -> WireLimits:
    """The limits of a request's content."""
    return WireLimits(
        max_nodes=config.max_nodes,
        max_network_elements=config.max_network_elements,
        max_inputs_bytes=config.max_inputs,
        max_file_bytes=config.max_blob,
        max_draws=config.max_draws,
        max_profile_gains=config.max_profile_gains,
        max_frontier_targets=config.max_frontier_targets,
        max_iterations=config.max_iterations,
    )


def server_limits(config: ServeConfig) -> v1.ServerLimits:
    """Every limit, as GetServerInfo tells them."""
    limits = wire_limits(config).to_proto()
    limits.max_message_bytes = config.max_message
    limits.max_chunk_bytes = config.max_message - 1024  # the rest of the message that holds the chunk
    limits.max_blob_bytes = config.max_blob
    limits.max_run_seconds = config.max_solve_seconds
    limits.job_retention_seconds = config.job_retention
    return limits


def worker_settings(config: ServeConfig) -> dict[str, int]:
    """The limits as plain values for the worker processes."""
    return asdict(wire_limits(config))


@dataclass
class _Findings:
    """What the walk over a request found."""

    violations: list[FieldViolation] = field(default_factory=list)
    too_large: bool = False
    blobs: set[str] = field(default_factory=set)

    def at_most(self, path: str, value: int, limit: int, what: str) -> None:
        if value > limit:
            self.too_large = True
            self.fail(path, f"got {value:,} {what}; allowed: at most {limit:,}; see GetServerInfo")

    def fail(self, path: str, description: str) -> None:
        self.violations.append(FieldViolation(field=path, description=description))

    def blob(self, path: str, message: v1.Tensor | v1.FileContent) -> None:
        if message.WhichOneof("content") != "blob":
            return
        if SHA256.match(message.blob.sha256):
            self.blobs.add(message.blob.sha256)
        else:
            digest = message.blob.sha256[:80]
            self.fail(f"{path}.blob.sha256", f"got {digest!r}; allowed: 64 lower-case hexadecimal digits")


def check_request(request: Calculation, config: ServeConfig) -> set[str]:
    """Check what can be told before reading the request; returns the SHA-256 of every blob that it names.

    Raises:
        ServiceError: INVALID_ARGUMENT with every violation found.
    """
    findings = _Findings()
    if request.HasField("request_id") and not REQUEST_ID.match(request.request_id):
        findings.fail("request_id", f"got {request.request_id[:80]!r}; allowed: 1 to 128 letters, digits and -_.:")
    if isinstance(request, v1.PredictRequest | v1.SimulateRequest):
        place, network, inputs = "", request.network, request.inputs
    else:
        place, network, inputs = "task.", request.task.network, request.task.inputs
        for name in _PROFILE_TENSORS:
            findings.blob(f"task.profile.{name}", getattr(request.task.profile, name))
    findings.blob(f"{place}inputs", inputs)
    covariance = request.detail.layer_covariances or (
        isinstance(request, v1.PredictRequest) and request.method == v1.PredictionMethod.PREDICTION_METHOD_COVARIANCE
    )
    _network(findings, f"{place}network", network, _elements(inputs), _batch(inputs), covariance, config)
    if isinstance(request, v1.SimulateRequest):
        draws = max(request.draws, 0) * _batch(inputs)
        findings.at_most("draws", 16 * draws, config.worker_memory, "bytes of memory for the classes of every draw")
    if isinstance(request, v1.SubmitPlanRequest) and request.HasField("run_limit_seconds"):
        limit = request.run_limit_seconds
        if not 0 < limit <= config.max_job_seconds:
            findings.fail("run_limit_seconds", f"got {limit:g}; allowed: > 0 and <= {config.max_job_seconds:g}")
    if findings.violations:
        reason = Reason.REQUEST_TOO_LARGE if findings.too_large else Reason.INVALID_REQUEST
        raise invalid_fields(findings.violations, reason=reason)
    return findings.blobs


def _network(
    findings: _Findings, path: str, network: v1.Network, inputs: int, batch: int, covariance: bool, config: ServeConfig
) -> None:
    """Nodes, tensors and the memory that prediction needs: weights, activations and, if carried, covariances."""
    source = network.WhichOneof("source")
    if source == "saved_network":
        findings.blob(f"{path}.saved_network", network.saved_network)
    elif source == "onnx":
        findings.blob(f"{path}.onnx", network.onnx)
    nodes = network.graph.nodes
    findings.at_most(f"{path}.graph.nodes", len(nodes), config.max_nodes, "nodes")
    if len(nodes) > config.max_nodes:
        return
    tensors = sum(len(node.tensors) for node in nodes)
    most = _TENSORS_PER_NODE * config.max_nodes
    findings.at_most(f"{path}.graph.nodes", tensors, most, "tensors")
    if tensors > most:
        return
    elements = widths = squares = 0
    for place, name, tensor in _tensors(f"{path}.graph", network.graph):
        findings.blob(place, tensor)
        elements += _elements(tensor)
        if name == "weight" and tensor.shape:
            width = max(tensor.shape[0], 0)
            widths += width
            squares += width * width
    findings.at_most(f"{path}.graph", elements, config.max_network_elements, "tensor elements")
    numbers = _COPIES * (elements + inputs + batch * widths) + (2 * batch * squares if covariance else 0)
    findings.at_most(path, 8 * numbers, config.worker_memory, "bytes of memory, as estimated")


def _tensors(path: str, graph: v1.NetworkGraph) -> Iterator[tuple[str, str, v1.Tensor]]:
    for number, node in enumerate(graph.nodes):
        for name, tensor in node.tensors.items():
            yield f'{path}.nodes[{number}].tensors["{name[:80]}"]', name, tensor


def _elements(tensor: v1.Tensor) -> int:
    """Elements that a tensor announces; an impossible shape counts as none and is refused when it is read."""
    extents = tensor.shape[:32]
    return math.prod(extents) if all(extent >= 0 for extent in extents) else 0


def _batch(inputs: v1.Tensor) -> int:
    return max(inputs.shape[0], 0) if inputs.shape else 0
