"""The host contract, in Blender."""

from tests.hosts.contract import *  # noqa: F403
