"""Passes of moments through a network, forward and back."""
