"""`dvm bench`, a part a file. `machine` and `networks` run on a bare GPU machine."""
