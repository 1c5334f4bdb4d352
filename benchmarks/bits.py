"""Bits of converters planned by layer, against one width for all layers and against all choices next to the plan.

    python -m benchmarks.bits EXAMPLE TARGET [INPUTS] [survey]

Prints one line: what was chosen, its energy, the best single width, the best choice within one bit of the plan in every
layer (gains planned for each), and how long the plan took against one without.
"""

from __future__ import annotations

import itertools
import sys
import time
import warnings

import powerplan as pp

LEAST, MOST = 4, 9


def main(name: str, target: float, count: int, adc: str) -> None:
    """Plan, try the neighbours, print."""
    warnings.simplefilter("ignore")
    example = pp.load_example(name)
    network, inputs, bound = example.network, example.inputs[:count], pp.MaxNMSE(target)
    converter = {"type": "capacitor"} if adc == "capacitor" else {"type": "survey", "node": 32e-9}
    costs = pp.Costs.from_dict({"adc": converter})
    hardware = pp.Hardware(conductance_min=1e-6, programming_noise_std=1e-6, adc_bits=8, costs=costs)

    def energy(bits: tuple[int, ...]) -> float:
        plan = pp.plan(network, hardware.replace(adc_bits=bits), inputs, bound)
        assert plan.costs is not None
        return plan.costs.energy if plan.meets_target else float("inf")

    layers = len(network.layer_names)
    started = time.process_time()
    eight = energy((8,) * layers)
    alone = time.process_time() - started
    started = time.process_time()
    free = ("conductance", "adc_bits")
    plan = pp.plan(network, hardware, inputs, bound, optimize=free, least_bits=LEAST, most_bits=MOST)
    with_bits = time.process_time() - started
    if plan.bits is None:
        print(f"{name} {target:.0%}: {plan.termination.message}")
        return
    chosen = tuple(layer.adc_bits or MOST for layer in plan.hardware.of_layers(network.layer_names))
    print(f"{name} {target:.0%} {adc}: {chosen}, {with_bits / alone:.1f} x {alone:.1f} s", flush=True)
    single = {bits: energy((bits,) * layers) for bits in range(LEAST, MOST + 1) if bits != 8} | {8: eight}
    width = min(single, key=lambda bits: single[bits])
    assert plan.costs is not None
    print(f"  {plan.costs.energy:.4g} J, 8 bits {eight:.4g}, single width {width}: {single[width]:.4g}", flush=True)
    near = [[b for b in (bits - 1, bits, bits + 1) if LEAST <= b <= MOST] for bits in chosen]
    if layers > 3:
        around: set[tuple[int, ...]] = {(*chosen[:k], b, *chosen[k + 1 :]) for k, own in enumerate(near) for b in own}
    else:
        around = set(itertools.product(*near))
    tried = {bits: energy(bits) for bits in sorted(around)}
    best = min(tried, key=lambda bits: tried[bits])
    ratio, below = plan.costs.energy / tried[best], plan.bits.bound / min(tried[best], single[width])
    print(f"  of {len(tried)} next to it {best}: {ratio:.5f} of the best, bound {below:.4f} of it", flush=True)


if __name__ == "__main__":
    name, target, *rest = sys.argv[1:]
    main(name, float(target), int(rest[0]) if rest else 32, rest[1] if len(rest) > 1 else "capacitor")
