"""Reading from tables by index, the fast way."""

from __future__ import annotations

from torch import Tensor


def pick(table: Tensor, places: Tensor) -> Tensor:
    """``table[places]`` for a table of one dimension and places of any shape.

    On the CPU `index_select` takes a seventh of the time of indexing with brackets.
    """
    return table.index_select(0, places.flatten()).view(places.shape)
