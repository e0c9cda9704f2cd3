"""The operator's CUDA kernels on the CPU: built with g++ behind cuda_on_cpu.h.

Stands in for `cuda_ops.kernels.kernel_on`, so that the code which launches them is tested too.
"""

import ctypes
import hashlib
import shutil
import subprocess
from pathlib import Path

from cuda_ops.kernels import Variant

HEADER = Path(__file__).with_suffix(".h")
GXX = shutil.which("g++")
TAIL = """
extern "C" void launch(const u32* grid, u32 threads, u32 shared, void** arguments) {{
    run([](void** values) {{ call({name}, values); }}, grid, threads, shared, arguments);
}}
"""


class Emulator:
    """Builds kernels into a folder, and counts what was launched."""

    def __init__(self, folder: Path, change=None):
        self.folder, self.launched = folder, []
        self._change = change or (lambda name, source: source)

    def kernel_on(self, device, variant: Variant):
        library = self._built(variant)

        def launch(grid, threads, arguments):
            assert threads == variant.threads
            self.launched.append(variant.name)
            pointers = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
            library.launch((ctypes.c_uint * 3)(*grid), threads, variant.shared, pointers)

        return launch

    def _built(self, variant: Variant) -> ctypes.CDLL:
        machine = (Path(__file__).parents[2] / "cuda_ops/csrc/machine.cu").read_text()
        assert variant.source.startswith(machine)
        source = f'#include "{HEADER}"\n' + variant.source[len(machine) :]
        source = self._change(variant.name, source) + TAIL.format(name=variant.name)
        key = hashlib.sha256(repr((source, variant.flags)).encode()).hexdigest()[:16]
        path = self.folder / f"{key}.so"
        if not path.exists():
            path.with_suffix(".cpp").write_text(source)
            subprocess.run(
                [
                    GXX, "-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-fwrapv", "-mf16c",
                    *variant.flags, str(path.with_suffix(".cpp")), "-o", str(path),
                ],
                check=True,
            )  # fmt: skip
        return ctypes.CDLL(str(path))
