"""What a caller gives: profiles, hardware and targets. The engine's values of the same names are taken as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args

import numpy.typing as npt

from powerplan_client._generated import v1 as pb
from powerplan_client.by_layer import BY_LAYER, is_by_layer, is_several, layer_values
from powerplan_client.compat import dataclass
from powerplan_client.devices import DEVICE_PARTS, device_part
from powerplan_client.errors import invalid
from powerplan_client.plain_names import plain_name
from powerplan_client.shared import Target
from powerplan_client.values import classes, number, numbers_of

#: field of the message by field of Hardware
HARDWARE_FIELDS = {plain_name(field): field.name for field in pb.Hardware.DESCRIPTOR.fields if not is_by_layer(field)}
#: field of the message by name of a target's class, which may be the engine's: its words in lower case, with its unit
TARGET_FIELDS = {
    kind.__name__: field
    for field in pb.Target.DESCRIPTOR.oneofs_by_name["bound"].fields
    for kind in get_args(Target)
    if kind.__name__.lower() == plain_name(field).replace("_", "")
}
#: fields of a target that say on which part of what there is it is
_PARTS = ("chips", "inputs")
#: targets by field of the message
TARGETS: dict[str, Any] = {TARGET_FIELDS[kind.__name__].name: kind for kind in get_args(Target)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """Power and error of n gains as sums of monomials, instead of a network: the weights stay with the caller.

        power(g) = constant_power + Σ_i Σ_t power_coefficients[i, t] g_i^power_exponents[t]
        mse(g)   = constant_mse + Σ_i Σ_s mse_coefficients[i, s] g_i^(−mse_exponents[s])

    Attributes:
        power_coefficients: (n, T) [W per unit gain^exponent], >= 0; power_exponents: (T,) > 0.
        mse_coefficients: (n, S), >= 0; mse_exponents: (S,) > 0.
        lower, upper: (n,) limits of the gains; None = none.
        constant_power [W], constant_mse: parts that no gain changes.
        signal_power: mean y*², needed with MaxNMSE.
        names: (n,) of the gains; () = gain1, gain2, ...
        solver: "auto", "closed_form", "kkt" or "cvxpy".
    """

    power_coefficients: npt.ArrayLike
    power_exponents: Sequence[float]
    mse_coefficients: npt.ArrayLike
    mse_exponents: Sequence[float]
    lower: npt.ArrayLike | None = None
    upper: npt.ArrayLike | None = None
    constant_power: float = 0.0
    constant_mse: float = 0.0
    signal_power: float | None = None
    names: Sequence[str] = ()
    solver: str = "auto"


def hardware_fields(value: Any, path: str = "hardware") -> dict[str, Any]:
    """Fields of the message for hardware given as Hardware, as the engine's Hardware, or as a mapping."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        unknown = sorted(map(str, set(value) - set(HARDWARE_FIELDS)))
        if unknown:
            raise invalid(f"{path}.{unknown[0]}", f"unknown; allowed: {', '.join(HARDWARE_FIELDS)}")
        entries = dict(value)
    else:
        names = [f.name for f in fields(value)] if hasattr(value, "__dataclass_fields__") else []
        unknown = sorted(set(names) - set(HARDWARE_FIELDS))
        if not names or unknown:
            what = f"its field {unknown[0]} is not in this client's contract" if unknown else "not a hardware"
            raise invalid(path, f"got {type(value).__name__}: {what}; allowed: Hardware, a mapping or None")
        entries = {name: getattr(value, name) for name in names}
        if hasattr(value, "to_dict"):  # the engine's: curves and the like as mappings
            entries = value.to_dict()
    polynomial = entries.get("programming_noise_polynomial")
    if polynomial is not None:
        coefficients = numbers_of(f"{path}.programming_noise_polynomial", polynomial, axes=(1,))
        entries["programming_noise_polynomial"] = coefficients.astype(float).tolist()
    fields_of: dict[str, Any] = {}
    for name, entry in entries.items():
        if name in BY_LAYER and is_several(entry):
            fields_of[BY_LAYER[name]] = layer_values(f"{path}.{name}", entry)
        elif entry is not None:
            fields_of[HARDWARE_FIELDS[name]] = device_part(name, entry) if name in DEVICE_PARTS else entry
    return fields_of


def target_fields(value: Any) -> dict[str, Any]:
    """Field of the message for a target, given as the client's or the engine's class of that name."""
    field = TARGET_FIELDS.get(type(value).__name__)
    if field is None:
        raise invalid("target", f"got {value!r}; allowed: {', '.join(TARGET_FIELDS)}")
    bound, *further = (each.name for each in fields(value) if each.name not in _PARTS)
    part = {
        name: number(f"target.{name}", share, "a number > 0 and < 1")
        for name in _PARTS
        if (share := getattr(value, name, None)) is not None
    }
    limit = number(f"target.{type(value).__name__}", getattr(value, bound), "a number > 0")
    if field.message_type is None:
        return {field.name: limit, **part}
    parts = {name: classes(f"target.{name}", getattr(value, name)) for name in further}
    return {field.name: {bound: limit, **parts}, **part}
