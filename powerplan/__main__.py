"""``python -m powerplan``: the command line."""

from powerplan.cli import main

if __name__ == "__main__":
    main()
