"""Operations written out by hand, found in a graph and replaced by the one operation that they are.

    pointwise    a value that depends entry by entry on one other value is one function of it, and known activations
                 are recognised by their values, however they were spelled
    norms        x · g(mean x²) with 1/g² linear is an RMS norm, and one of x − mean x a layer norm;
                 e · 1/Σe with e = exp(x), or exp(x − c) with the same c for all entries of the sum, is a softmax

Why: docs/decisions/networks.md [0342].
"""

from powerplan.network.fusing.fused import fused

__all__ = ["fused"]
