"""What is optimised: gains as variables, power and errors as sums of terms, the constraints of a target."""
