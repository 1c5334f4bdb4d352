"""Whether a prediction takes error samples (:mod:`powerplan.moments.samples.estimate`), and how many.

Why: docs/decisions/error-samples.md [0212].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from powerplan.hardware import Hardware
from powerplan.hardware.tiling import read_positions
from powerplan.moments.rules.activations import activation_rule
from powerplan.moments.rules.activations.quadrature import Quadrature
from powerplan.moments.samples.converters import reads_apart, saturates_alike
from powerplan.moments.settings import MOST_SAMPLES
from powerplan.moments.sources.device_samples import FEW_DEVICES
from powerplan.network import ops
from powerplan.network.graph import Network
from powerplan.network.slopes import op_slope_explains
from powerplan.remembered import remembered

#: rounds of any prediction, and of one with rare errors, whose scatter is less regular; samples of a round at least, of
#: a prediction that was asked for a number of them
_ROUNDS, _ROUNDS_OF_RARE, _FEWEST_ASKED = 4, 16, 4
#: samples to begin with: at least, and at most where errors are not rare
_FEWEST_FIRST, _MOST_FIRST = 24, 256
#: multiplications of the first samples of all inputs, beyond which there are no more than the fewest
_FIRST_WORK = 1 << 27
#: inputs up to which the most samples are taken where layers have few devices
_FEW_INPUTS = 8
#: stuck devices that the first rounds of all inputs together hold in the layer with the fewest
_RARE_EVENTS = 8192
#: times as many samples as of other errors, at most, for that
_MOST_TIMES = 8
#: times as many of them where inputs come in slices: what rounds of 16 samples say of coarse converters is 1 to 2 % low
_TIMES_IN_SLICES = 4
#: times as many of them behind jumps: rounds of 128 samples leave two signs in series 5 to 6 % high, those of 512 up to
#: 5 %, which the scatter of rounds does not show; those of 2048 about 0.4 %
_TIMES_BEHIND_JUMPS = 16
#: multiplications that rounds may take, beyond the first of errors that are not rare; and those that the first rounds
#: of rare errors take in any case: with fewer, the time goes by otherwise
_MOST_WORK, _LEAST_WORK = 1 << 33, 1 << 25


#: jumps up to this part of all values between -4 and 4, where the values of networks usually are, are steps of a
#: rounding, which make no large errors unless noise is small beside them; below the other they are rounding of numbers
_FAR, _NO_JUMP = 0.01, 1e-7
#: linear operations that gather nothing: the variance of an output is a function of that of one input
_ARRANGING = (
    *(ops.Scale, ops.Flatten, ops.Reshape, ops.Permute, ops.Concat, ops.Slice, ops.Take, ops.Pad),
    *(ops.Constant, ops.Embedding),
)
#: those that gather
_LINEAR = (ops.DigitalLayer, ops.Add, ops.SliceSum, ops.Mean, ops.AveragePool, ops.AdaptiveAveragePool, ops.Upsample)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Samples come in rounds of ``samples``: ``first`` rounds, then more until the standard error of the MSE is at most
    ``error`` times the MSE or there are ``most``.

    Attributes:
        many: errors are rare, or read in slices (:func:`takes_many`).
        jumps: what noise makes of jumps matters.
        on_steps: what is done instead where noise is small beside the steps of a rounding, which depends on the gains
            (:func:`powerplan.moments.samples.steps.noise_is_within_steps`).
    """

    samples: int
    first: int
    most: int
    error: float
    many: bool = False
    jumps: bool = False
    on_steps: Sampling | None = None

    def quick(self, part: float = 1.0) -> Sampling:
        """The first rounds only, with a part of their samples."""
        on_steps = self.on_steps and self.on_steps.quick(part)
        samples = max(1, int(self.samples * part)) if self.samples else 0
        return replace(self, samples=samples, most=self.first, on_steps=on_steps)

    @classmethod
    def of(
        cls, network: Network, hardware: Hardware, batch: int, *, samples: int | None, error: float
    ) -> Sampling | None:
        """How samples of a batch are taken; None where no errors of one origin meet.

        Args:
            samples: so many, 0 = none; None = by ``error``.
        """
        if samples == 0:
            return None
        usual = cls._of(network, hardware, batch, samples, error, False)
        if jumps_matter(network, False) or not jumps_matter(network, True):
            return usual
        on_steps = cls._of(network, hardware, batch, samples, error, True)
        return replace(usual or cls(samples=0, first=0, most=0, error=error), on_steps=on_steps)

    @classmethod
    def _of(
        cls, network: Network, hardware: Hardware, batch: int, samples: int | None, error: float, steps: bool
    ) -> Sampling | None:
        """The same where noise is small beside the steps of a rounding, or is not."""
        if samples is None and not needs_corrections(network, hardware, steps):
            return None
        many, jumps = takes_many(network, hardware, steps), jumps_matter(network, steps)
        if samples is not None:
            rounds = max(1, min(_ROUNDS_OF_RARE, samples // _FEWEST_ASKED))
            return cls(samples=samples // rounds, first=rounds, most=rounds, error=error, many=many, jumps=jumps)
        rounds = _ROUNDS_OF_RARE if has_rare_errors(network, hardware, steps) else _ROUNDS
        own = first_samples(network, hardware, batch, steps) // rounds
        work = own * batch * sum(weights * reads for weights, reads in _sizes(network).values())
        most = max(rounds, min(MOST_SAMPLES // own, int(_MOST_WORK / work)))
        return cls(samples=own, first=rounds, most=most, error=error, many=many, jumps=jumps)


def needs_corrections(network: Network, hardware: Hardware, steps: bool = False) -> bool:
    """True if errors of one origin meet (positions that share devices, joins of noisy values, operations that are not
    linear on several entries), or are rare and large.

    Stuck devices are: few of them cause much of the error, and what they cause is not Gaussian.

    Args:
        steps: here and below: noise is small beside the steps of a rounding, which are jumps then.
    """
    return takes_many(network, hardware, steps) or _errors_meet(network)


@remembered
def _errors_meet(network: Network) -> bool:
    noisy = [(node, sum(name in network.noisy for name in node.inputs)) for node in network.nodes]
    joins = any(inputs > 1 or (inputs and _mixes(node.op)) for node, inputs in noisy)
    return joins or any(reads > 1 for _, reads in _sizes(network).values())


def has_rare_errors(network: Network, hardware: Hardware, steps: bool = False) -> bool:
    """True if a few errors are large, or common to all columns and held by converters."""
    return hardware.stuck_fraction > 0 or saturates_alike(hardware) or jumps_matter(network, steps)


def takes_many(network: Network, hardware: Hardware, steps: bool = False) -> bool:
    """True if it takes many samples to know the errors: rare ones, and those of converters that read slices of noisy
    inputs apart."""
    return has_rare_errors(network, hardware, steps) or any(
        reads_apart(own, node.op.matrix.shape[-1])
        for node, own in zip(network.crossbars, hardware.of_layers(network.layer_names), strict=True)
        if isinstance(node.op, ops.CrossbarOp) and any(name in network.noisy for name in node.inputs)
    )


@remembered
def jumps_matter(network: Network, steps: bool) -> bool:
    """True if what noise makes of a jump, few large errors, goes on to something that is not linear."""
    jumped: set[str] = set()
    for node in network.nodes:
        if node.name not in network.noisy:
            continue
        behind = any(name in jumped for name in node.inputs)
        if behind and not isinstance(node.op, ops.CrossbarOp) and not _is_linear(node.op):
            return True
        if behind or _jumps(node.op, _NO_JUMP if steps else _FAR):
            jumped.add(node.name)
    return False


@remembered
def errors_are_alike(network: Network) -> bool:
    """True if an array is read by several nodes, and noise reaches another array or what is not linear: what errs there
    errs alike behind all reads, which only samples know."""
    again = any(len(nodes) > 1 for nodes in network.reads.values())
    return again and any(
        not _is_linear(node.op) and any(name in network.noisy for name in node.inputs) for node in network.nodes
    )


def _is_linear(op: ops.Op) -> bool:
    """True for linear digital operations."""
    return isinstance(op, _LINEAR) or is_arrangement(op)


def _mixes(op: ops.Op) -> bool:
    """True for operations that are not linear on several entries: a softmax, a norm, a maximum of a window."""
    by_entry = isinstance(op, ops.Activation) or (isinstance(op, ops.Function) and op.of_one_value)
    return not (by_entry or isinstance(op, ops.CrossbarOp) or _is_linear(op))


def is_arrangement(op: ops.Op) -> bool:
    """True for linear operations that gather nothing."""
    return isinstance(op, _ARRANGING)


def _jumps(op: ops.Op, least: float) -> bool:
    """True for jumps that are larger than this part of all values."""
    if isinstance(op, ops.Function) and op.of_one_value:
        rule = activation_rule(op)
        return isinstance(rule, Quadrature) and rule.largest_jump > least
    return not op_slope_explains(op)


def first_samples(network: Network, hardware: Hardware, batch: int, steps: bool = False) -> int:
    """Samples that pool enough independent errors to begin with: the fewer devices a layer has, the more samples; most
    for rare errors and for those that all columns have in common.

    Many inputs average over each other's errors, and take fewer. Large networks begin with few, whose scatter says
    how many it takes.
    """
    sizes = _sizes(network)
    most = max(_FEWEST_FIRST, min(_MOST_FIRST, _MOST_FIRST * _FEW_INPUTS // batch))
    work = batch * sum(weights * reads for weights, reads in sizes.values())
    if not takes_many(network, hardware, steps):
        asked = FEW_DEVICES // min(weights for weights, _ in sizes.values())
        return min(most, max(_FEWEST_FIRST, min(asked, _FIRST_WORK // work)))
    if not has_rare_errors(network, hardware, steps):  # slices that are read apart
        return max(_FEWEST_FIRST, min(_MOST_FIRST, _MOST_WORK // work))
    sets = _MOST_TIMES * _MOST_FIRST * _FEW_INPUTS * (1 if hardware.input_slice_bits is None else _TIMES_IN_SLICES)
    if hardware.stuck_fraction and not saturates_alike(hardware):
        shared = hardware.mapping == "shared"
        # errors of the last layer meet nothing that is not linear
        last = {node.array_name for node in network.nodes if node.name == network.output}
        inner = [w * (1 if shared else reads) for name, (w, reads) in sizes.items() if name not in last]
        events = hardware.stuck_fraction * hardware.devices_per_weight * min(inner, default=1)
        sets = int(min(sets, _RARE_EVENTS / events if events else sets))
    times = _TIMES_BEHIND_JUMPS if jumps_matter(network, steps) else 1
    wanted = min(_MOST_WORK // work, max(_LEAST_WORK // work, times * sets // batch))
    return min(times * _MOST_TIMES * _MOST_FIRST, max(most, wanted))


@remembered
def _sizes(network: Network) -> dict[str, tuple[int, int]]:
    """Weights of every array, and positions at which it is read."""
    return {
        name: (nodes[0].op.matrix.size, read_positions(network, nodes))
        for name, nodes in network.reads.items()
        if isinstance(nodes[0].op, ops.CrossbarOp)
    }
