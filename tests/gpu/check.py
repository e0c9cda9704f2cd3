"""Runs the tests in this folder where torch with CUDA is, and nothing of ours is installed.

    python3 tests/gpu/check.py [--device cpu] [pytest's own arguments …]

They need torch, torchvision, numpy, scipy, opencv, safetensors and pytest. ``--device cpu`` tries
the tests themselves on a machine without a GPU. Exit code 2: there is nothing to run on.
"""

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks on a CUDA device.")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    options, rest = parser.parse_known_args()
    try:
        import pytest
        import torch
    except ImportError as error:
        print(f"{error.name} is not installed for {sys.executable}: set GPU_PYTHON to one with it")
        return 2
    if options.device == "cuda" and not torch.cuda.is_available():
        print(f"there is no CUDA device: torch {torch.__version__} of {sys.executable} sees none")
        return 2
    os.environ["DVM_CHECK_DEVICE"] = options.device
    name = torch.cuda.get_device_name() if options.device == "cuda" else "the CPU"
    print(f"checking on {name}, torch {torch.__version__}")
    where = ["-c", str(HERE / "check.ini"), "--rootdir", str(HERE.parents[1])]
    return int(pytest.main([*where, "-m", "gpu", *(rest or []), str(HERE)]))


if __name__ == "__main__":
    sys.exit(main())
