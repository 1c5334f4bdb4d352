"""What joint samples of all errors correct of marginal moments."""
