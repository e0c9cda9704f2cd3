"""From the add-on's start to its end, and from one file to the next: timer, handlers, threads."""

from __future__ import annotations

import atexit

from . import adapter, live, paths


@adapter.persistent
def after_load(*_):
    """Another file: its shots have not been heard of. What runs for the last one goes on; its
    results are on disk when that file is opened again."""
    paths.settle()
    running = live.live()
    running.states = {uid: s for uid, s in running.states.items() if s.busy}
    for tree in adapter.shot_trees():
        running.look(tree)


@adapter.persistent
def after_save(*_):
    """Perhaps into another folder, under another name."""
    paths.settle()


def register():
    adapter.listen("load_post", after_load)
    adapter.listen("save_post", after_save)
    if not adapter.in_background():
        adapter.start_timer(live.tick)
    # Blender ends without unregistering: threads must be gone before its interpreter is.
    atexit.register(live.end)


def unregister():
    atexit.unregister(live.end)
    adapter.unlisten("save_post", after_save)
    adapter.unlisten("load_post", after_load)
    adapter.stop_timer(live.tick)
    live.end()
