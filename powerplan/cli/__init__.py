"""The command line. ``powerplan`` and ``powerplan --help`` import neither torch nor cvxpy nor numpy."""

import sys

try:
    from powerplan.cli.group import main
except KeyboardInterrupt:
    # as any other interruption: the shell sees the exit code of the command line, not a process ended by the signal
    sys.stderr.write("interrupted\n")
    sys.exit(130)

__all__ = ["main"]
