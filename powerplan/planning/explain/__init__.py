"""Why a plan is as it is: limits, prices, what would help."""
