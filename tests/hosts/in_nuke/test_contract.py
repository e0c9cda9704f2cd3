"""The host contract, in Nuke."""

from tests.hosts.contract import *  # noqa: F403
