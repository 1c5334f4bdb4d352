"""What to program and how to read it, layer by layer.

Row j of a layer is driven by V_j = v_j x_j; the devices of output i hold

    G±_ij = G_min + c_i max(±W_ij, 0) v_ref / v_j,        v_ref = (Π_j v_j)^(1/n),

and the output is z_i = scale_i Σ_tiles (I⁺_i − I⁻_i) + b_i with scale_i = 1 / (c_i v_ref), the bias b added digitally.
With an offset mapping there is one device, G_ij = G_min + c_i (W_ij + w) v_ref / v_j, and

    z_i = scale_i (Σ_tiles I_i − G_min Σ_j V_j) − w Σ_j x_j + b_i,

both sums taken digitally. Where biases are a row, it is the last of every group: driven by x = 1 with v_ref, it holds
b, and nothing is added digitally. Where outputs have digital scales s (``hardware.column_scale``), all of z_i but b_i
is multiplied by s_i; scales of inputs r (``hardware.row_scale``) are in what drives and decodes, v_j r_j/max r and
scale_i max r, while devices hold what they would without. With ``hardware.predistort`` devices have targets that make
the mean of what they hold the conductances above. Columns with a passive load G_L (``hardware.load_conductance``) give
voltages y; a side of a tile counts as the current I_i = (G_L + Σ_j G_ij) y_i, with the target conductances.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from powerplan.checks import check_kinds, choice, frozen_array
from powerplan.deployment.exported_layer import ExportedLayer
from powerplan.deployment.files import FORMATS, read_export, save_export
from powerplan.deployment.tiles import cut
from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.hardware.gains import Gain, Gains, driven, reference_voltage
from powerplan.hardware.stored import stored
from powerplan.hardware.tiling import LayerArrays, layer_arrays
from powerplan.network import Network
from powerplan.network.ops import CrossbarOp
from powerplan.network.weight_slices import check_sliced
from powerplan.plausibility import question

if TYPE_CHECKING:
    from powerplan.planning import Plan


@dataclass(frozen=True, kw_only=True, eq=False)
class Export:
    """A plan ready to be programmed.

    Attributes:
        layers: every crossbar layer, in order.
        hardware: the hardware planned for.
        network_sha256: digest of the network.
        plan_sha256: of the plan's JSON, or None for bare gains.
        powerplan_version: that made it.
    """

    layers: tuple[ExportedLayer, ...]
    hardware: Hardware
    network_sha256: str
    plan_sha256: str | None
    powerplan_version: str

    @classmethod
    def of(cls, network: Network, hardware: Hardware, gains: Gains, *, plan_sha256: str | None = None) -> Export:
        """Tiles and read-out settings at given gains.

        Raises:
            InvalidInput: gains that do not fit the network or exceed the conductance range.
        """
        from powerplan._version import __version__

        gains.check(network, hardware)
        gains.check_has_scales(hardware)
        scales = [entries or (None,) * len(network.crossbars) for entries in (gains.column_scale, gains.row_scale)]
        return cls(
            layers=tuple(
                _layer(network, hardware, arrays, i, *own)
                for i, (arrays, *own) in enumerate(
                    zip(layer_arrays(network, hardware), gains.conductance, gains.voltage, *scales, strict=True)
                )
            ),
            hardware=hardware,
            network_sha256=network.digest,
            plan_sha256=plan_sha256,
            powerplan_version=__version__,
        )

    def save(self, path: str | os.PathLike[str], *, format: str = "npz", overwrite: bool = False) -> None:
        """Write to a file (npz) or a folder (csv); see :func:`export`."""
        save_export(self, path, choice("format", format, FORMATS), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Export:
        """Read what :meth:`save` wrote, in either format.

        Raises:
            CorruptFile: truncated, damaged (hashes are checked), foreign or of a newer format version.
        """
        return cls(**read_export(path))


def export(
    plan: Plan,
    network: Network,
    path: str | os.PathLike[str] | None = None,
    *,
    format: str = "npz",
    overwrite: bool = False,
) -> Export:
    """Target conductances per tile and read-out settings of a plan, and a file of them.

    Args:
        plan: with the gains and the hardware.
        network: that was planned for.
        path: where to write; None = nowhere. npz: a file; csv: a folder.
        format: "npz": one zip archive of ``manifest.json`` and .npy arrays; "csv": a folder of ``manifest.json`` and
            CSV tables.
        overwrite: replace an existing file, or a folder that holds an earlier export.

    Raises:
        InvalidInput: another network than the plan's, an existing path, or one that cannot be written.

    Warns:
        PlausibilityWarning: a number of the plan is most likely in another unit.
    """
    from powerplan.planning.plan_value import Plan

    check_kinds(plan=(plan, Plan), network=(network, Network))
    question(plan)
    check_sliced(network, plan.prediction.layer_names)
    planned_for = plan.provenance.get("network_sha256")
    if planned_for not in (None, network.digest):
        raise InvalidInput.of(
            "network",
            f"SHA-256 {network.digest[:12]}...",
            f"the network of the plan, SHA-256 {planned_for[:12]}...",
            "Give the network file that was planned with.",
        )
    exported = Export.of(network, plan.hardware, plan.gains, plan_sha256=_plan_digest(plan))
    if path is not None:
        exported.save(path, format=format, overwrite=overwrite)
    else:
        choice("format", format, FORMATS)
    return exported


def _layer(
    network: Network,
    hardware: Hardware,
    arrays: LayerArrays,
    index: int,
    conductance: Gain,
    voltage: Gain,
    column_scale: np.ndarray | None,
    row_scale: np.ndarray | None,
) -> ExportedLayer:
    node = network.crossbars[index]
    op = node.op
    assert isinstance(op, CrossbarOp)
    mapped = stored(op, hardware)
    c = np.broadcast_to(np.asarray(conductance, dtype=np.float64), (op.n_out,))
    reference = reference_voltage(voltage)
    v = mapped.by_row(np.broadcast_to(np.asarray(voltage, dtype=np.float64), (op.n_rows,)), reference)
    group_of = np.arange(op.n_out) // (op.n_out // op.groups)
    unit = c[:, None] * (reference / v[group_of])  # S per unit weight
    if row_scale is not None:
        v, reference = driven(v, reference, mapped.by_row(row_scale, 1.0))
    return ExportedLayer(
        name=node.array_name,
        groups=op.groups,
        copies=arrays.copies,
        reads=arrays.reads,
        conductance_gain=frozen_array(c),
        voltage_gain=frozen_array(v.reshape(-1)),
        scale=frozen_array(1 / (c * reference)),
        column_scale=None if column_scale is None else frozen_array(column_scale),
        bias=None if mapped.bias is None else frozen_array(mapped.bias, np.float64),
        weight_offset=mapped.offset,
        conductance_min=hardware.conductance_min,
        has_bias_row=mapped.has_bias_row,
        tiles=tuple(cut([*_targets(hardware, unit * np.stack(mapped.sides), op.groups)], op.groups, hardware)),
    )


def _targets(hardware: Hardware, above: np.ndarray, groups: int) -> np.ndarray:
    """Target conductances [S] of devices (sides, n_out, n) that shall hold so much above conductance_min."""
    if not hardware.predistort:
        return hardware.conductance_min + above
    import torch

    from powerplan.hardware.layer_targets import layer_targets

    sides, n_out, rows = above.shape
    wanted = torch.as_tensor(above).view(sides, groups, n_out // groups, rows)
    return layer_targets(hardware, wanted).view(above.shape).numpy()


def _plan_digest(plan: Plan) -> str:
    from powerplan.planning.plan_file import plan_to_dict

    return hashlib.sha256(json.dumps(plan_to_dict(plan), sort_keys=True).encode()).hexdigest()
