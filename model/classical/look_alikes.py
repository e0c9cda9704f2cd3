"""Pixels that look alike have like alphas, wherever they are: a nonlocal term for the closed form.

Each unknown pixel is joined to the pixels nearest to it in colour, once among those near by and
once anywhere. Where colours leave the matting Laplacian's small windows without an answer (locks of
hair with background showing through, a hole in a sleeve), the neighbours in colour have one.

Source: Q. Chen, D. Li, C.-K. Tang, "KNN Matting", IEEE TPAMI 35(9), 2013; joined with the matting
Laplacian instead of alone, with edges of one weight, as a graph Laplacian D − W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

# How many neighbours, and how much the width of the frame counts against black to white.
SEARCHES = ((20, 2.0), (10, 0.1))
_EDGES = sum(count for count, _ in SEARCHES)
MOST_KNOWN = 40_000  # pixels that are searched; of more, every second, third …


@dataclass(frozen=True)
class LookAlikes:
    """D − W over the N unknown pixels of a frame; the edges of each have one weight in sum, and it
    takes part in those of others.

    Attributes:
        columns: int64 E, the other end of each edge, row by row.
        weights: float64 E.
        lengths: int64 N, edges of each row.
        diagonal: float64 N, D.
        right: float64 N, what the known pixels of alpha 1 contribute.
    """

    columns: Tensor
    weights: Tensor
    lengths: Tensor
    diagonal: Tensor
    right: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """(D − W)·x."""
        others = torch.segment_reduce(
            self.weights * x[self.columns], "sum", lengths=self.lengths, unsafe=True
        )
        return self.diagonal * x - others


def side_by_side(parts: Sequence[LookAlikes]) -> LookAlikes:
    """Those of several frames as one system, one frame's pixels after the other's."""
    counts = [len(part.diagonal) for part in parts]
    begins = [sum(counts[:i]) for i in range(len(counts))]
    return LookAlikes(
        columns=torch.cat([p.columns + begin for p, begin in zip(parts, begins, strict=True)]),
        weights=torch.cat([part.weights for part in parts]),
        lengths=torch.cat([part.lengths for part in parts]),
        diagonal=torch.cat([part.diagonal for part in parts]),
        right=torch.cat([part.right for part in parts]),
    )


def look_alikes(picture: Tensor, alpha: Tensor, pixels: Tensor, strength: float) -> LookAlikes:
    """Find them.

    Args:
        picture: float 3×H×W, 0…1, encoded: steps that look alike are alike.
        alpha: float H×W, 0 or 1 where known.
        pixels: int64 N, raster indices of the unknown pixels in the order of the system's rows.
        strength: weight of a pixel's edges in sum.
    """
    unknown = pixels.cpu().numpy()
    values = alpha.flatten().double().cpu().numpy()
    is_known = np.ones(len(values), bool)
    is_known[unknown] = False
    known = np.flatnonzero(is_known)
    known = known[:: -(-len(known) // MOST_KNOWN)]
    places = np.concatenate([unknown, known])  # the unknown ones first
    count = len(unknown)
    edges = _edges(picture, places, count)
    ends = edges.ravel()
    starts = np.repeat(np.arange(count), edges.shape[1])
    weight = np.full(len(ends), strength / _EDGES)
    inside = ends < count
    one_way = scipy.sparse.csr_matrix(
        (weight[inside], (starts[inside], ends[inside])), (count, count)
    )
    both = (one_way + one_way.T).tocsr()
    to_known = np.bincount(starts[~inside], weight[~inside], count)
    to_foreground = np.bincount(
        starts[~inside], weight[~inside] * values[places[ends[~inside]]], count
    )
    both.sort_indices()

    def tensor(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(picture.device)

    return LookAlikes(
        columns=tensor(both.indices.astype(np.int64)),
        weights=tensor(both.data),
        lengths=tensor(np.diff(both.indptr).astype(np.int64)),
        diagonal=tensor(np.asarray(both.sum(1)).ravel() + to_known),
        right=tensor(to_foreground),
    )


def _edges(picture: Tensor, places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """N×`_EDGES`: for each of the first ``count`` places, which places it is joined to."""
    width = picture.shape[2]
    colours = picture.flatten(1).float().cpu().numpy()[:, places]
    y, x = places // width, places % width
    found = []
    for nearest, spread in SEARCHES:
        features = np.stack([*colours, spread * x / width, spread * y / width], 1)
        tree = cKDTree(features.astype(np.float32), leafsize=32)
        # One more, for the nearest is the pixel itself, or one just like it.
        wanted = min(nearest + 1, len(places))
        found_there = tree.query(
            features[:count].astype(np.float32), wanted, workers=torch.get_num_threads()
        )
        neighbours = found_there[1]
        found.append(np.atleast_2d(neighbours)[:, 1:])
    return np.concatenate(found, 1).astype(np.int64)
