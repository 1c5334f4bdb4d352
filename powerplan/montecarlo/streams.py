"""Random numbers of a simulation: one stream per draw, derived from (seed, index of the draw).

Each draw has its own generator, so that its random numbers do not depend on how draws are grouped. The CPU
generator of torch (a Mersenne twister) keeps 32 bits of its seed; draw k of seed s gets

    mix((k + a(s)) mod 2³²) xor b(s),

mix a bijection of 32-bit words and a, b words hashed from s: no two draws of a simulation share a stream.

Why: docs/decisions/simulation.md [0020].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

#: number of distinct streams of one seed
STREAMS = 2**32


class Streams:
    """Standard normals and uniform numbers for consecutive draws, float32 whatever the precision of the simulation.

    Args:
        seed: of the simulation, >= 0.
        device: where the numbers are made; a CPU and a GPU make different ones.

    Attributes:
        draws: number of draws under way.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        first, second = np.random.SeedSequence(seed).generate_state(2)
        self._words = int(first), int(second)
        self._device = device
        self._generators: list[torch.Generator] = []
        self.draws = 0

    def start(self, draws: Sequence[int]) -> None:
        """Put one stream per draw at its beginning; ``draws`` are their indices."""
        while len(self._generators) < len(draws):
            self._generators.append(torch.Generator(self._device))
        self.draws = len(draws)
        for generator, draw in zip(self._generators, draws, strict=False):
            generator.manual_seed(_mix((draw + self._words[0]) % STREAMS) ^ self._words[1])

    def normal_(self, out: torch.Tensor) -> torch.Tensor:
        """Fill ``out`` (draws, ...), contiguous float32, each draw from its own stream."""
        for row, generator in zip(out, self._generators[: self.draws], strict=True):
            row.normal_(generator=generator)
        return out

    def uniform_(self, out: torch.Tensor) -> torch.Tensor:
        """Fill ``out`` (draws, ...), contiguous float32, with uniform numbers in [0, 1)."""
        for row, generator in zip(out, self._generators[: self.draws], strict=True):
            row.uniform_(generator=generator)
        return out


def _mix(word: int) -> int:
    """A bijection of 32-bit words whose output bits all depend on all input bits.

    Xor-shifts and odd multipliers are invertible modulo 2³².
    """
    word = ((word ^ (word >> 16)) * 0x7FEB352D) % STREAMS
    word = ((word ^ (word >> 15)) * 0x846CA68B) % STREAMS
    return word ^ (word >> 16)
