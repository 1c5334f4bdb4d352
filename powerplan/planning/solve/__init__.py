"""How a planning problem is solved: starts, descents, steps, and the plans that come out."""
