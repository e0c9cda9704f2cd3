"""CUDA kernels of ours on the CPU: built with g++, the first file of their source replaced.

Stands in for `cuda_ops.variants.kernel_on`, so that the code which launches them is tested too.
"""

import ctypes
import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from cuda_ops import nvrtc
from cuda_ops.variants import Variant

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "cuda_ops" / "csrc"
GXX = shutil.which("g++")
ARCHITECTURES = (80, 86, 89, 90, 120)  # that kernels must compile for
needs_compiler = pytest.mark.skipif(nvrtc.library_path() is None, reason="needs NVRTC")
needs_gxx = pytest.mark.skipif(GXX is None, reason="needs g++")
TAIL = """
extern "C" void launch(const u32* grid, u32 threads, u32 shared, void** arguments, int together) {{
    run([](void** values) {{ call({name}, values); }}, grid, threads, shared, arguments, together);
}}
"""


@dataclass(frozen=True)
class StandIn:
    """A header in place of the first file of kernels' source.

    Attributes:
        header: file in this folder, which includes fibres.h.
        replaces: file in csrc.
        flags: for g++; among them what a block may have of shared memory, and a thread's stack.
    """

    header: str
    replaces: str
    flags: tuple[str, ...]


# Shared memory as on sm_90 and as on sm_86: the prior's kernels are to run on any card.
OPERATOR = StandIn(
    "cuda_on_cpu.h",
    "machine.cu",
    ("-mf16c", f"-DSHARED_BYTES={227 * 1024}", f"-DSTACK_BYTES={2**17}"),
)
PRIOR = StandIn(
    "together_on_cpu.h",
    "together.cu",
    ("-mfma", "-ffp-contract=off", f"-DSHARED_BYTES={99 * 1024}", f"-DSTACK_BYTES={2**15}"),
)


class Emulator:
    """Builds kernels into a folder, and counts what was launched."""

    def __init__(self, folder: Path, stand_in: StandIn, change=None):
        self.folder, self.launched = folder, []
        self._stand_in, self._flags = stand_in, stand_in.flags
        self._change = change or (lambda name, source: source)

    def kernel_on(self, device, variant: Variant):
        library = self._built(variant)

        def launch(grid, threads, arguments, together=False):
            assert threads == variant.threads
            self.launched.append(variant.name)
            pointers = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
            sizes = (ctypes.c_uint * 3)(*grid)
            library.launch(sizes, threads, variant.shared, pointers, int(together))

        return launch

    def _built(self, variant: Variant) -> ctypes.CDLL:
        first = (SOURCES / self._stand_in.replaces).read_text()
        assert variant.source.startswith(first)
        source = "".join(
            (
                *(f"#define {name} {value}\n" for name, value in variant.options),
                f'#include "{HERE / self._stand_in.header}"\n',
                self._change(variant.name, variant.source[len(first) :]),
                TAIL.format(name=variant.name),
            )
        )
        key = hashlib.sha256(repr((source, self._flags)).encode()).hexdigest()[:16]
        path = self.folder / f"{key}.so"
        if not path.exists():
            code = path.with_suffix(".cpp")
            code.write_text(source)
            compile_(self._flags, "-shared", "-include", self._fibres(), code, "-o", path)
        return ctypes.CDLL(str(path))

    def _fibres(self) -> Path:
        """What all of them include, compiled once: reading it takes as long as a kernel."""
        header = self.folder / f"fibres_of_{self._stand_in.header}"
        compiled = header.with_name(f"{header.name}.gch")
        if not compiled.exists():
            header.write_text(f'#include "{HERE / "fibres.h"}"\n')
            compile_(self._flags, "-x", "c++-header", header, "-o", compiled)
        return header


def compile_(flags: tuple[str, ...], *rest: object) -> None:
    # Checked jumps would not go from stack to stack.
    always = ("-std=c++17", "-O1", "-U_FORTIFY_SOURCE", "-w", "-fPIC", "-fwrapv")
    subprocess.run([GXX, *always, *flags, *map(str, rest)], check=True)
