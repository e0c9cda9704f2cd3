"""Which channels of a file are the picture, among layers, views, depth, normals and ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_ROLES = {
    "r": "R",
    "red": "R",
    "g": "G",
    "green": "G",
    "b": "B",
    "blue": "B",
    "a": "A",
    "alpha": "A",
    "y": "Y",
}
_FAVOURED = ("", "rgba", "rgb", "beauty", "combined", "main", "left")


@dataclass(frozen=True)
class Picture:
    """Channels that belong together.

    Attributes:
        layer: what stands before the last dot; ``""`` for the default layer.
        roles: ``R``, ``G``, ``B``, ``A`` or ``Y`` of each.
        indices: where each is in the file's part.
    """

    layer: str
    roles: tuple[str, ...]
    indices: tuple[int, ...]

    @property
    def rank(self) -> tuple[bool, int]:
        """Smaller is better: colour before luminance, the default layer before named ones."""
        last = self.layer.rpartition(".")[2].lower()
        favour = _FAVOURED.index(last) if last in _FAVOURED else len(_FAVOURED)
        return "Y" in self.roles, favour


def split(name: str) -> tuple[str, str]:
    """Layer and role, ``("beauty", "R")`` for ``beauty.R``; role ``""`` if not of a picture."""
    layer, _, last = name.rpartition(".")
    return layer, _ROLES.get(last.lower(), "")


def roles(names: Sequence[str]) -> tuple[str, ...]:
    """``R``, ``G``, ``B``, ``A``, ``Y`` or ``""`` for each channel."""
    return tuple(split(name)[1] for name in names)


def find_picture(names: Sequence[str], is_id: Sequence[bool] = ()) -> Picture | None:
    """The best picture among a part's channels.

    Args:
        names: channel names in file order.
        is_id: for each channel, whether it holds unsigned 32-bit ids; none do if empty.

    Returns:
        R, G and B with A if there is one; else a luminance ``Y``; ``None`` if neither.
    """
    layers: dict[str, dict[str, int]] = {}
    vectors = set()
    for index, name in enumerate(names):
        layer, role = split(name)
        if name.rpartition(".")[2].lower() in ("x", "z"):
            vectors.add(layer)
        if role and not (is_id and is_id[index]):
            layers.setdefault(layer, {}).setdefault(role, index)
    found = []
    for layer, channels in layers.items():
        if {"R", "G", "B"} <= channels.keys():
            wanted = [role for role in "RGBA" if role in channels]
        elif "Y" in channels and layer not in vectors:  # N.x N.y N.z is a vector, not a luminance
            wanted = [role for role in "YA" if role in channels]
        else:
            continue
        wanted.sort(key=channels.__getitem__)
        found.append(Picture(layer, tuple(wanted), tuple(channels[role] for role in wanted)))
    return min(found, key=lambda picture: picture.rank, default=None)


def find_lone(names: Sequence[str], is_id: Sequence[bool], role: str) -> Picture | None:
    """Of a part without a picture: an alpha, else the only channel there is, as ``role``."""
    alphas = [index for index, kind in enumerate(roles(names)) if kind == "A"]
    alphas = alphas or ([0] if len(names) == 1 and not is_id[0] else [])
    return Picture(split(names[alphas[0]])[0], (role,), (alphas[0],)) if alphas else None


def find_alpha(names: Sequence[str], is_id: Sequence[bool] = ()) -> Picture | None:
    """The channel A alone where there is one; else as `find_picture`, for a matte may be grey."""
    if "A" in names:
        return Picture("", ("A",), (names.index("A"),))
    return find_picture(names, is_id)
