"""Arrays whose wires have resistance: what their columns read, exactly and in closed form.

Row i of an array is driven by V_i through the driver's resistance and passes its n devices, a resistance per cell from
device to device; column j collects what its m devices pass and ends, through the resistance of its amplifier's input,
at 0 V. All rows are driven at any time and devices are linear, so that the column currents are I = V M, M (m, n) the
same for every input. Row m is the nearest to the amplifiers, column 1 the nearest to the drivers.

Why: docs/decisions/wires.md.
"""
