"""One process of a training under torchrun, with clips that lie nowhere: see test_ddp.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.train.disc_clips import KIND
from training import sources, train

if __name__ == "__main__":
    sources.SOURCES["discs"] = KIND
    sys.exit(train.main(sys.argv[1:]))
