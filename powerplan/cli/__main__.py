"""``python -m powerplan.cli``."""

from powerplan.cli.group import main

main(prog_name="powerplan")
