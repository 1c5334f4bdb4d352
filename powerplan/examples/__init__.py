"""Built-in examples: small networks trained in seconds, or a minute, on real data.

============  ==============================  ==========================================================
name          network                         data
============  ==============================  ==========================================================
iris          4-16-3                          Fisher's Iris flowers (from scikit-learn)
digits        64-32-32-10                     8x8 handwritten digits (from scikit-learn)
mnist         784-256-256-128-64-10           the 10 000 MNIST test images (from a folder or a download)
mnist_cnn     LeNet-5, max pooling            the same
mnist_resnet  8 convolutions, 3 joins, 1 fc   the same
============  ==============================  ==========================================================
"""

from powerplan.examples.example import Example, example_names, load_example

__all__ = ["Example", "example_names", "load_example"]
