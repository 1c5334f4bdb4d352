"""Layers as people read them: their names, with the kind where a name is only a number.

Names say which layer is meant, in files, on the wire and where one is chosen; labels are only shown.
"""

from __future__ import annotations

from collections.abc import Sequence


def layer_labels(names: Sequence[str], kinds: Sequence[str]) -> tuple[str, ...]:
    """(L,) labels such as "0 (Conv2d)", the place in a torch ``nn.Sequential``, or "features.0", which says enough.

    Args:
        names: (L,) names of the layers.
        kinds: (L,) their kinds, or () where they are not known.
    """
    if len(kinds) != len(names):
        return tuple(names)
    return tuple(
        name if any(map(str.isalpha, name)) else f"{name} ({kind})" for name, kind in zip(names, kinds, strict=True)
    )
