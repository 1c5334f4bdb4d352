"""What an inference takes beside the currents of the arrays: energy, latency and area of every component.

``converters``: what one conversion takes; ``values``: :class:`Costs`, all that is told of a chip; ``technologies``:
published ones; ``counts``: how often a layer uses every component; ``model``: energies, latencies and areas of the
layers, as functions that can be differentiated in bits; ``breakdown``: what results say.
"""
