"""Heat maps of the arrays of a plan as a figure (matplotlib, extra ``plot``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from powerplan.errors import InvalidInput
from powerplan.network import Network
from powerplan.network.weight_slices import check_sliced
from powerplan.planning import Plan
from powerplan.report.heat_maps import layer_heats
from powerplan.report.plots import new_figure, written
from powerplan.report.text import typeset

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_arrays(plan: Plan, network: Network, *, title: str = "", file: str | os.PathLike[str] | None = None) -> Figure:
    """Conductance, drop by wires and error of every device, in its place in its array: a row for each layer.

    Drivers are on the left, amplifiers below. Large arrays are drawn as means over blocks of devices, of many layers
    the first 12.

    Args:
        network: that of the plan.
        title: what was planned.
        file: also write the figure.

    Raises:
        InvalidInput: another network, or one of more devices than are drawn.
    """
    check_sliced(network, plan.prediction.layer_names)
    if plan.prediction.layer_names != network.layer_names:
        raise InvalidInput.of("network", network, "the network of the plan", "Give the right one.")
    heats, left_out = layer_heats(plan, network)
    if not heats:
        raise InvalidInput.of("network", network, left_out, "Plot a smaller one.")
    across = len(heats[0].quantities)
    figure = new_figure(0.6 + 3.4 * across, 0.6 + 3.0 * len(heats))
    panels = figure.subplots(len(heats), across, squeeze=False)
    for row, heat in zip(panels, heats, strict=True):
        for axes, quantity in zip(row, heat.quantities, strict=True):
            image = axes.imshow(quantity.cells, cmap="viridis", interpolation="nearest", aspect="auto")
            axes.set(xticks=[], yticks=[], title=f"{heat.layer}: {quantity.name.lower()}")
            axes.set_facecolor("0.5")
            low, high = quantity.ends
            bar = figure.colorbar(image, ax=axes, ticks=[low, high] if high > low else [low])
            bar.ax.set_yticklabels([typeset(quantity.text(end)) for end in ([low, high] if high > low else [low])])
        row[0].set(ylabel="rows, drivers on the left", xlabel="columns, amplifiers below")
    figure.suptitle(f"{title or 'arrays'}{' (' + left_out.rstrip('.') + ')' if left_out else ''}")
    return written(figure, file)
