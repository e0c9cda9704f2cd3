"""The prior's CUDA kernels on the CPU: built with g++ behind together_on_cpu.h.

Stands in for `cuda_ops.kernels.kernel_on`, as `tests.ops.cuda_on_cpu` does.
"""

import ctypes
import hashlib
import shutil
import subprocess
from pathlib import Path

from cuda_ops.matting_kernels import Part

HEADER = Path(__file__).with_suffix(".h")
GXX = shutil.which("g++")
TAIL = """
extern "C" void launch(const u32* grid, u32 threads, u32 shared, void** arguments, int together) {{
    run([](void** values) {{ call({name}, values); }}, grid, threads, shared, arguments, together);
}}
"""


class Emulator:
    """Builds kernels into a folder, and counts what was launched."""

    def __init__(self, folder: Path, change=None):
        self.folder, self.launched = folder, []
        self._change = change or (lambda name, source: source)

    def kernel_on(self, device, part: Part):
        library = self._built(part)

        def launch(grid, threads, arguments, together=False):
            assert threads == part.threads
            self.launched.append(part.name)
            pointers = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
            sizes = (ctypes.c_uint * 3)(*grid)
            library.launch(sizes, threads, part.shared, pointers, int(together))

        return launch

    def _built(self, part: Part) -> ctypes.CDLL:
        machine = (Path(__file__).parents[2] / "cuda_ops/csrc/together.cu").read_text()
        assert part.source.startswith(machine)
        source = f'#include "{HEADER}"\n' + part.source[len(machine) :]
        source = self._change(part.name, source) + TAIL.format(name=part.name)
        key = hashlib.sha256(repr((source, part.flags, HEADER.read_text())).encode()).hexdigest()
        path = self.folder / f"{key[:16]}.so"
        if not path.exists():
            path.with_suffix(".cpp").write_text(source)
            subprocess.run(
                [
                    GXX, "-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-fwrapv", "-mfma",
                    "-ffp-contract=off", *part.flags, str(path.with_suffix(".cpp")),
                    "-o", str(path),
                ],
                check=True,
            )  # fmt: skip
        return ctypes.CDLL(str(path))
