"""The command line. ``powerplan`` and ``powerplan --help`` import neither torch nor cvxpy nor numpy."""

from powerplan.cli.group import main

__all__ = ["main"]
