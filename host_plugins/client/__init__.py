"""The client of Deep Video Matte. Runs inside hosts: Python 3.9 to 3.13, pyzmq and msgpack only."""
