"""One programmed array: the mean and variance of its effective weights, its columns, read-out and power."""
