"""What plans choose of every layer beside gains: fields of the hardware, and the values that there are to choose from.

A *side* is what acts together on an error: the converters of columns, or those of rows. A *site* is one side of one
layer, and an *option* a value for each of the side's free fields. A choice has one option for every site.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.hardware.costs.model import CostModel, Precision
from powerplan.planning import policy
from powerplan.planning.settings import PlanSettings

#: fields of the hardware by the side that they are of
_SIDES = (("adc_bits", "adc_headroom", "columns_per_adc"), ("dac_bits",))
#: fields that change no error
_SILENT = ("columns_per_adc",)


@dataclass(frozen=True, kw_only=True)
class Side:
    """The converters of columns or of rows.

    Attributes:
        kinds: fields of the hardware that are free.
        options: values of them, the one that errs least last.
    """

    kinds: tuple[str, ...]
    options: tuple[tuple[float, ...], ...]

    @property
    def with_most_bits(self) -> list[int]:
        """Indices of the options that have as many bits as any, and the fewest columns per converter."""
        coarse = [i for i, kind in enumerate(self.kinds) if kind != "adc_headroom"]
        return [k for k, own in enumerate(self.options) if all(own[i] == self.options[-1][i] for i in coarse)]

    @property
    def alike(self) -> list[np.ndarray]:
        """Indices of the options of one range: what is cut off adds up over layers in another way than rounding."""
        ranges = [
            [v for kind, v in zip(self.kinds, each, strict=True) if kind == "adc_headroom"] for each in self.options
        ]
        return [np.array([i for i, own in enumerate(ranges) if own == one]) for one in map(list, {*map(tuple, ranges)})]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """All choices of a network.

    Attributes:
        sides: with free fields.
        layers: number of crossbar layers.
    """

    sides: tuple[Side, ...]
    layers: int

    @classmethod
    def of(cls, settings: PlanSettings, model: CostModel) -> Choices:
        """Those that are asked for and that the cost model knows.

        Raises:
            InvalidInput: fewer bits than the model knows.
        """
        sides = []
        for own in _SIDES:
            kinds = tuple(kind for kind in own if kind in settings.free_choices)
            if kinds:
                values = [_values(settings, model, kind) for kind in kinds]
                sides.append(Side(kinds=kinds, options=tuple(itertools.product(*values))))
        return cls(sides=tuple(sides), layers=len(model.layer_names))

    @property
    def sites(self) -> int:
        """Number of sites: all layers of one side after the other."""
        return len(self.sides) * self.layers

    @property
    def has_ranges(self) -> bool:
        """Whether ranges of converters are free."""
        return any("adc_headroom" in side.kinds for side in self.sides)

    def side(self, site: int) -> Side:
        """The side of a site."""
        return self.sides[site // self.layers]

    @property
    def finest(self) -> np.ndarray:
        """(sites,) the options that err least."""
        return np.repeat([len(side.options) - 1 for side in self.sides], self.layers)

    def fields(self, choice: np.ndarray) -> dict[str, tuple[float, ...]]:
        """The fields of a choice (sites,), with one value per layer."""
        by_side = choice.reshape(len(self.sides), self.layers)
        return {
            kind: tuple(side.options[option][k] for option in own)
            for side, own in zip(self.sides, by_side, strict=True)
            for k, kind in enumerate(side.kinds)
        }

    def erring(self, choice: np.ndarray) -> tuple[tuple[float, ...], ...]:
        """The fields of a choice (sites,) that change errors."""
        return tuple(values for kind, values in self.fields(choice).items() if kind not in _SILENT)

    def ending_with(self, number: int, option: int) -> Choices:
        """With an option of one side as its last one."""
        sides = list(self.sides)
        own = sides[number].options
        sides[number] = replace(sides[number], options=(*own[:option], *own[option + 1 :], own[option]))
        return replace(self, sides=tuple(sides))

    def only(self, kept: Sequence[np.ndarray]) -> Choices:
        """With these options of every side, increasing indices."""
        sides = (
            replace(side, options=tuple(side.options[i] for i in own))
            for side, own in zip(self.sides, kept, strict=True)
        )
        return replace(self, sides=tuple(sides))

    def precision(self, model: CostModel, choice: np.ndarray) -> Precision:
        """What costs go by at a choice (sites,)."""
        known = {k: np.array(v, dtype=float) for k, v in self.fields(choice).items() if hasattr(model.precision, k)}
        return replace(model.precision, **known)

    def switched(self, choice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every choice that differs from one (sites,) in a site or not at all (N, sites), and the site of each (N,)."""
        counts = [len(self.side(site).options) for site in range(self.sites)]
        sites = np.repeat(np.arange(self.sites), counts)
        switched = np.tile(choice, (len(sites), 1))
        switched[np.arange(len(sites)), sites] = np.concatenate([np.arange(count) for count in counts])
        return switched, sites


def _values(settings: PlanSettings, model: CostModel, kind: str) -> Sequence[float]:
    """The values of a field, the one that errs least last."""
    if kind == "adc_headroom":
        return policy.HEADROOMS
    if kind == "columns_per_adc":
        return policy.COLUMNS_SHARED
    converter = model.adc if kind == "adc_bits" else model.dac
    least, most = max(settings.least_bits, math.ceil(converter.least_bits or 0)), settings.most_for(kind, model.costs)
    if least > settings.most_bits:
        allowed = f"at least {least}, the larger of least_bits and the fewest that hardware.costs knows"
        raise InvalidInput.of("most_bits", settings.most_bits, allowed, "Raise most_bits.")
    if least > most:
        allowed = f"at most {most}, the most that hardware.costs knows"
        raise InvalidInput.of("least_bits", settings.least_bits, allowed, "Lower it, or give costs for more bits.")
    if least == most:
        allowed = f"more than {least}: from {least} to {most} there is no choice"
        raise InvalidInput.of("most_bits", settings.most_bits, allowed, f"Set hardware.{kind}, and do not free them.")
    return range(least, most + 1)
