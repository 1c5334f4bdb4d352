"""Error sources: what each adds to the output of an array."""
