"""Geometric programs that share power and error among gains: three solvers, each a check on the others.

cvxpy is imported only when :func:`cvxpy_solve` first solves.
"""

from powerplan.allocation.certificate import OptimalityCertificate, certificate_at, certify
from powerplan.allocation.convex import cvxpy_solve
from powerplan.allocation.dispatch import METHODS, solve
from powerplan.allocation.formula import closed_form, closed_form_covers
from powerplan.allocation.kkt import kkt_bisection
from powerplan.allocation.posynomial import Posynomial
from powerplan.allocation.problem import GeometricProgram
from powerplan.allocation.result import AllocationResult, Status

__all__ = [
    "METHODS",
    "AllocationResult",
    "GeometricProgram",
    "OptimalityCertificate",
    "Posynomial",
    "Status",
    "certificate_at",
    "certify",
    "closed_form",
    "closed_form_covers",
    "cvxpy_solve",
    "kkt_bisection",
    "solve",
]
