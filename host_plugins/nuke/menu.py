"""Nuke runs this when it starts with its window: the menu entry, and what Nuke tells us of."""

import nuke
from deep_video_matte.nuke import menus

menus.register(nuke.menu("Nodes"))
