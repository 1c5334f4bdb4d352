"""An array with wires as an electric network: every node an unknown, one dense system."""

import numpy as np


class _Network:
    def __init__(self) -> None:
        self.parent: list[int] = []
        self.resistors: list[tuple[int, int, float]] = []

    def node(self) -> int:
        self.parent.append(len(self.parent))
        return len(self.parent) - 1

    def root(self, node: int) -> int:
        while self.parent[node] != node:
            node = self.parent[node]
        return node

    def resistor(self, a: int, b: int, ohm: float) -> None:
        if ohm == 0:
            self.parent[self.root(a)] = self.root(b)
        else:
            self.resistors.append((a, b, 1 / ohm))

    def conductance(self, a: int, b: int, siemens: float) -> None:
        if siemens:
            self.resistors.append((a, b, siemens))

    def seen_from(self, terminals: list[int]) -> np.ndarray:
        """The conductance matrix of the terminals."""
        roots = sorted({self.root(k) for k in range(len(self.parent))})
        index = {root: k for k, root in enumerate(roots)}
        laplacian = np.zeros((len(roots), len(roots)))
        for a, b, siemens in self.resistors:
            first, second = index[self.root(a)], index[self.root(b)]
            laplacian[[first, second], [first, second]] += siemens
            laplacian[[first, second], [second, first]] -= siemens
        kept = [index[self.root(k)] for k in terminals]
        inner = [k for k in range(len(roots)) if k not in set(kept)]
        a = laplacian[np.ix_(inner, inner)]
        a[np.diag_indices_from(a)] += np.where(np.diag(a) == 0, 1.0, 0.0)  # nodes that nothing holds
        coupling = laplacian[np.ix_(inner, kept)]
        return laplacian[np.ix_(kept, kept)] - coupling.T @ np.linalg.solve(a, coupling)


def nodal(g: np.ndarray, *, row: float, column: float, driver: float, sense: float, both_ends: bool = False):
    """Column currents per volt (m, n), power matrix (m, m) and conductance at the amplifiers (n,) of devices (m, n)."""
    m, n = g.shape
    net = _Network()
    drivers = [net.node() for _ in range(m)]
    amplifiers = [net.node() for _ in range(n)]
    word = [[net.node() for _ in range(n)] for _ in range(m)]
    bit = [[net.node() for _ in range(n)] for _ in range(m)]

    def series(a: int, b: int, *ohms: float) -> None:
        net.resistor(a, b, sum(ohms))

    for i in range(m):
        series(word[i][0], drivers[i], driver, row)
        for j in range(1, n):
            net.resistor(word[i][j], word[i][j - 1], row)
        if both_ends:
            series(word[i][-1], drivers[i], driver, row)
    for j in range(n):
        series(bit[-1][j], amplifiers[j], column, sense)
        for i in range(1, m):
            net.resistor(bit[i - 1][j], bit[i][j], column)
    for i in range(m):
        for j in range(n):
            net.conductance(word[i][j], bit[i][j], g[i, j])
    reduced = net.seen_from([*drivers, *amplifiers])
    return -reduced[:m, m:], reduced[:m, :m], np.diag(reduced)[m:]
