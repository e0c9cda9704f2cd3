"""What is known of a frame before it is solved: its trimap, within what its guides allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.plates.holdout import Guides, Limits, limits_of
from model.plates.plate import PlateHeader, Trimap
from model.plates.trimap import place_trimap


@dataclass(frozen=True)
class Known:
    """Of one frame.

    Attributes:
        trimap: that it is solved from.
        limits: of alpha; None if it has no garbage and no core matte.
    """

    trimap: Trimap
    limits: Limits | None = None

    def placed(self, header: PlateHeader) -> npt.NDArray[np.uint8]:
        """The trimap over the plate's data window, as it is true of the limited alpha."""
        placed = place_trimap(self.trimap, header)
        return placed if self.limits is None else self.limits.loosened(placed)

    def confidence(self, header: PlateHeader) -> npt.NDArray[np.float32]:
        """Of the trimap, over the plate's data window, 0…1; painted and given ones are certain."""
        trimap = self.trimap
        if trimap.confidence is None:
            return np.ones((header.data_window.height, header.data_window.width), np.float32)
        carried = Trimap(trimap.confidence, trimap.window)
        return place_trimap(carried, header).astype(np.float32) / np.float32(255)


def known_of(number: int, trimap: Trimap, header: PlateHeader, guides: Guides) -> Known:
    """A frame's trimap, pinned by its garbage and core mattes.

    Raises:
        InputError: ``input.trimap_size``, ``input.guide_size``.
    """
    limits = limits_of(guides, header, number)
    if limits is None:
        return Known(trimap)
    return Known(limits.pinned(trimap, header), limits)
