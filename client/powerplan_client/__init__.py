"""Client of the powerplan planning service."""
