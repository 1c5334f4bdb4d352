"""Whether a prediction takes random fields (:mod:`powerplan.moments.samples.estimate`), and how many.

Why: docs/decisions/error-samples.md [0212].
"""

from __future__ import annotations

from powerplan.hardware import Hardware
from powerplan.moments.samples.converters import saturates_alike
from powerplan.moments.samples.crossbar import FEW_DEVICES
from powerplan.network import ops
from powerplan.network.graph import Network

_FEWEST_FIELDS = 16
_MOST_FIELDS = 256
#: inputs up to which the most fields are taken where layers have few devices
_FEW_INPUTS = 8
#: stuck devices that fields of all inputs together hold in the layer with the fewest, if that takes no more than times
#: as many fields, nor more multiplications
_RARE_EVENTS = 8192
#: times as many stuck devices where converters hold what the largest of them cause
_HELD = 8
_MOST_TIMES = 8
_MOST_WORK = 1 << 33
#: multiplications that fields may take where errors are common to all columns
_MOST_WORK_ALIKE = 1 << 30


def needs_corrections(network: Network, hardware: Hardware) -> bool:
    """True if errors of one origin meet (positions that share devices, joins of noisy values), or are rare and large.

    Stuck devices are: few of them cause much of the error, and what they cause is not Gaussian.
    """
    if has_rare_errors(hardware):
        return True
    meet = any(sum(name in network.noisy for name in node.inputs) > 1 for node in network.nodes)
    return meet or any(reads > 1 for _, reads in _sizes(network).values())


def has_rare_errors(hardware: Hardware) -> bool:
    """True if a few errors are large, or common to all columns and held by converters: it takes many fields to know
    them."""
    return hardware.stuck_fraction > 0 or saturates_alike(hardware)


def enough_fields(network: Network, hardware: Hardware, batch: int) -> int:
    """Fields that pool enough independent errors: the fewer devices a layer has, the more fields; most for rare errors
    and for those that all columns have in common.

    Many inputs average over each other's errors, and take fewer.
    """
    sizes = _sizes(network)
    most = max(_FEWEST_FIELDS, min(_MOST_FIELDS, _MOST_FIELDS * _FEW_INPUTS // batch))
    alike = saturates_alike(hardware)
    if not has_rare_errors(hardware):
        return min(most, max(_FEWEST_FIELDS, FEW_DEVICES // min(weights for weights, _ in sizes.values())))
    work = sum(weights * reads for weights, reads in sizes.values())
    sets = min(_MOST_TIMES * _MOST_FIELDS * _FEW_INPUTS, _MOST_WORK / work)
    if not hardware.stuck_fraction:
        sets = min(sets, _MOST_WORK_ALIKE / work)
    elif not alike:
        shared = hardware.mapping == "shared"
        # errors of the last layer meet nothing that is not linear
        inner = [w * (1 if shared else reads) for name, (w, reads) in sizes.items() if name != network.output]
        events = hardware.stuck_fraction * hardware.devices_per_weight * min(inner, default=1)
        held = _HELD if hardware.converts_columns or hardware.dac_bits is not None else 1
        sets = min(sets, held * _RARE_EVENTS / events)
    return min(_MOST_TIMES * _MOST_FIELDS, max(most, int(sets / batch)))


def _sizes(network: Network) -> dict[str, tuple[int, int]]:
    """Weights of every crossbar layer, and positions at which they are read."""
    return {
        node.name: (node.op.matrix.size, node.op.reads(network.shapes[node.inputs[0]]))
        for node in network.crossbars
        if isinstance(node.op, ops.CrossbarOp)
    }
