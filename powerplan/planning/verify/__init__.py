"""Plans simulated: draws, the check of the target, calibration by it."""
