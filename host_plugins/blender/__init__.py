"""Deep Video Matte in Blender: a node that gets its mattes from the matting server.

Blender's Python needs pyzmq and msgpack for this, which the bundles bring along; torch never runs
in here.
"""

bl_info = {
    "name": "Deep Video Matte",
    "author": "The Deep Video Matte authors",
    "version": (0, 1, 0),
    "blender": (3, 4, 0),
    "location": "Compositor > Add > Deep Video Matte; Sidebar > Deep Video Matte",
    "description": "Alpha plates from a few painted trimaps, by the Deep Video Matte server",
    "category": "Compositing",
}


def register():
    from . import farm, operators, panel, preferences, properties, session

    for part in (properties, preferences, operators, panel, farm, session):
        part.register()


def unregister():
    from . import farm, operators, panel, preferences, properties, session

    for part in (session, farm, panel, operators, preferences, properties):
        part.unregister()
