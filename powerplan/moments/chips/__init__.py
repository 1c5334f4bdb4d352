"""The error of one chip, not of the average chip."""
