"""What studies and the server share to run jobs: a database file, stored content, and worker processes.

The ledger of a study (:mod:`powerplan.batch.ledger`) and the server's jobs are tables in a :class:`.database.Database`.

Why: docs/decisions/house.md.
"""
