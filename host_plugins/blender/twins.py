"""Copies of a group: each is to have a shot of its own, and the one that was copied keeps its own.

A copy has all that it was copied from, ``uid`` included, and two with one uid would be taken for
one. It has another name, though: names are one group's alone. So a shot knows the name of its group
(``owner``), and in the copy that is not the group's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from . import adapter, group


def part(goes_on: Callable[[str], bool]) -> None:
    """Give each copy in this file a shot of its own.

    Args:
        goes_on: whether something is being done for a uid. If so, its group is not guessed at.
    """
    found: dict[str, list] = {}
    for tree in adapter.shot_trees():
        found.setdefault(tree.dvm.uid, []).append(tree)
    for uid, trees in found.items():
        keeper = _keeper(trees, certain=goes_on(uid))
        if keeper is None:
            continue
        for tree in trees:
            if adapter.is_editable(tree):
                if tree != keeper:
                    tree.dvm.uid = uuid.uuid4().hex
                    group.own_images(tree)
                if tree.dvm.owner != tree.name:  # a copy, renamed, or saved before there was that
                    tree.dvm.owner = tree.name


def _keeper(trees: list, *, certain: bool):
    """Of groups with one uid, the one it belongs to; None if that must be certain and is not."""
    if len(trees) == 1:
        return trees[0]
    linked = [tree for tree in trees if not adapter.is_editable(tree)]
    named = [tree for tree in trees if tree.dvm.owner == tree.name]
    if len(named) == 1 and not linked:
        return named[0]
    if certain:
        return None
    # A linked one cannot be changed; and a copy's name is its original's with a number behind it.
    return linked[0] if linked else min(trees, key=lambda tree: tree.name)
