"""Client of the powerplan planning service: how much amplification does a network on noisy crossbars need?

with PlannerClient("localhost:50051") as client:
    plan = client.plan(Network.mlp(weights, biases), Hardware(), inputs, MaxNMSE(0.01))
"""

from powerplan_client._version import __version__
from powerplan_client.aio import AsyncPlannerClient
from powerplan_client.client import PlannerClient
from powerplan_client.errors import (
    Cancelled,
    ClientClosed,
    Conflict,
    DeadlineExceeded,
    FeatureUnavailable,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PlannerError,
    ResourceExhausted,
    ServerError,
    Unauthenticated,
    Unavailable,
    Violation,
)
from powerplan_client.inputs import Profile
from powerplan_client.networks import Network, Node, Onnx
from powerplan_client.results import Job, JobEvent, JobState, ProfilePlan, RunningEstimate, ServerInfo, Statistics
from powerplan_client.shared import (
    Gains,
    Hardware,
    MaxAccuracyDrop,
    MaxFlipRate,
    MaxMSE,
    MaxNMSE,
    MaxOutputMSE,
    MaxPower,
    Outcome,
    Plan,
    Prediction,
    Simulation,
    Steps,
)

__all__ = [
    "AsyncPlannerClient",
    "Cancelled",
    "ClientClosed",
    "Conflict",
    "DeadlineExceeded",
    "FeatureUnavailable",
    "Gains",
    "Hardware",
    "InvalidRequest",
    "Job",
    "JobEvent",
    "JobState",
    "MaxAccuracyDrop",
    "MaxFlipRate",
    "MaxMSE",
    "MaxNMSE",
    "MaxOutputMSE",
    "MaxPower",
    "Network",
    "Node",
    "NotFound",
    "Onnx",
    "Outcome",
    "PermissionDenied",
    "Plan",
    "PlannerClient",
    "PlannerError",
    "Prediction",
    "Profile",
    "ProfilePlan",
    "ResourceExhausted",
    "RunningEstimate",
    "ServerError",
    "ServerInfo",
    "Statistics",
    "Simulation",
    "Steps",
    "Unauthenticated",
    "Unavailable",
    "Violation",
    "__version__",
]
