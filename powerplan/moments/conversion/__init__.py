"""Converters of rows and columns under Gaussian errors."""
