"""CUDA source to a kernel that can be launched, with what torch brings: NVRTC and the driver.

Sources are compiled at first use, in about 0.3 s each, to machine code of the card at hand: PTX
made by an NVRTC newer than the driver would be refused. Nothing of it needs a toolkit, a host
compiler or headers, so that the wheel stays pure Python. Compiling needs no card.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import torch

__all__ = ["Argument", "Kernel", "KernelError", "compiled", "library_path", "loaded"]

Argument = ctypes.c_int | ctypes.c_float | ctypes.c_double | ctypes.c_void_p | ctypes.Structure

_WINDOWS = sys.platform == "win32"
_MAX_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_CARVEOUT = 9  # CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, in percent
_WITHOUT_ASKING = 48 * 1024  # bytes of shared memory
_NO_CONTEXT = 201  # CUDA_ERROR_INVALID_CONTEXT
_SYSTEM_BYTES = 1024  # of it that each block takes by itself


class KernelError(RuntimeError):
    """NVRTC or the driver cannot do what was asked for; the text says which, and why."""


class Kernel:
    """A function on a device.

    Args:
        handle: the driver's.
        name: for error texts.
        device: where it is.
        shared: bytes of dynamic shared memory that each block gets.
    """

    def __init__(self, handle: ctypes.c_void_p, name: str, device: torch.device, shared: int):
        self._handle, self._name, self._device, self._shared = handle, name, device, shared

    def __call__(
        self,
        grid: Sequence[int],
        threads: int,
        arguments: Sequence[Argument],
        together: bool = False,
    ) -> None:
        """Launch on torch's current stream of the device.

        Args:
            grid: blocks in x, y, z.
            threads: in a block.
            arguments: by value, as the kernel declares them.
            together: all blocks run at the same time and may wait for each other; KernelError if
                the device does not hold so many.
        """
        pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(a) for a in arguments))
        stream = ctypes.c_void_p(torch.cuda.current_stream(self._device).cuda_stream)
        launch = "cuLaunchCooperativeKernel" if together else "cuLaunchKernel"
        more = () if together else (None,)
        elsewhere = torch.cuda.current_device() != self._device.index  # as a rule it is not
        with torch.cuda.device(self._device) if elsewhere else nullcontext():
            _driver_call(
                launch, self._handle, *grid, threads, 1, 1, self._shared, stream, pointers, *more,
                what=self._name,
            )  # fmt: skip


def compiled(source: str, name: str, options: Sequence[str], architecture: int) -> bytes:
    """Machine code for a compute capability (90 for 9.0).

    Raises:
        KernelError: if NVRTC is not there, or does not take the source; with its own words.
    """
    nvrtc = _nvrtc()
    program = ctypes.c_void_p()
    _nvrtc_call(
        nvrtc, "nvrtcCreateProgram", ctypes.byref(program), source.encode(), f"{name}.cu".encode(),
        0, None, None,
    )  # fmt: skip
    try:
        flags = [f"--gpu-architecture=sm_{architecture}", "--std=c++17", *options]
        words = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        code = nvrtc.nvrtcCompileProgram(program, len(flags), words)
        if code:
            log = _read(nvrtc, program, "ProgramLog").rstrip(b"\0\n").decode(errors="replace")
            raise KernelError(f"{name} does not compile for sm_{architecture}: {log or code}")
        return _read(nvrtc, program, "CUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def loaded(code: bytes, name: str, device: torch.device, shared: int, blocks: int) -> Kernel:
    """Put machine code onto a device.

    Args:
        code: from `compiled`, for the device's capability.
        name: of the function in it.
        device: where to.
        shared: bytes of dynamic shared memory that each block needs.
        blocks: how many of them should fit into a multiprocessor; what its memory then has left
            caches reads. 0 leaves that to the driver.

    Raises:
        KernelError: if the driver refuses.
    """
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    found = ctypes.byref(function)
    with torch.cuda.device(device):
        _driver_call("cuModuleLoadData", ctypes.byref(module), code, what=name)
        _driver_call("cuModuleGetFunction", found, module, name.encode(), what=name)
        if shared > _WITHOUT_ASKING:
            _driver_call("cuFuncSetAttribute", function, _MAX_SHARED, shared, what=name)
        if blocks:
            whole = torch.cuda.get_device_properties(device).shared_memory_per_multiprocessor
            percent = min(100, -(-100 * blocks * (shared + _SYSTEM_BYTES) // whole))
            _driver_call("cuFuncSetAttribute", function, _CARVEOUT, percent, what=name)
    return Kernel(function, name, device, shared)


@cache
def library_path() -> str | None:
    """Where torch's NVRTC is; None if nowhere we know of. A bare name is for the system to find."""
    for folder in _folders():
        pattern = "nvrtc64_*.dll" if _WINDOWS else "libnvrtc.so*"
        found = sorted(p for p in folder.glob(pattern) if "alt" not in p.name)
        if found:
            return str(found[-1])
    major = (torch.version.cuda or "").partition(".")[0]
    if not major:
        return None
    bare = f"nvrtc64_{major}0_0.dll" if _WINDOWS else f"libnvrtc.so.{major}"
    try:
        ctypes.CDLL(bare)
    except OSError:
        return None
    return bare


def _folders() -> list[Path]:
    """Where wheels put NVRTC: torch's own folder, or a package of NVIDIA's beside torch."""
    torch_at = Path(torch.__file__).parent
    major = (torch.version.cuda or "").partition(".")[0]
    nvidia = torch_at.parent / "nvidia"
    inner = "bin" if _WINDOWS else "lib"
    return [
        torch_at / "lib",
        nvidia / f"cu{major}" / inner,
        nvidia / f"cu{major}" / "bin" / "x86_64",
        nvidia / "cuda_nvrtc" / inner,
    ]


@cache
def _nvrtc() -> ctypes.CDLL:
    path = library_path()
    if path is None:
        raise KernelError("NVRTC is not there: it comes with torch built for CUDA")
    # NVRTC looks for its built-in functions by bare name: loaded first, they are found.
    pattern = "nvrtc-builtins64_*.dll" if _WINDOWS else "libnvrtc-builtins.so*"
    try:
        for built_in in (
            sorted(Path(path).parent.glob(pattern))[-1:] if Path(path).parts[1:] else ()
        ):
            ctypes.CDLL(str(built_in))
        return ctypes.CDLL(path)
    except OSError as error:
        raise KernelError(f"NVRTC at {path} cannot be loaded: {error}") from error


def _nvrtc_call(nvrtc: ctypes.CDLL, function: str, *arguments: object) -> None:
    code = getattr(nvrtc, function)(*arguments)
    if code:
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise KernelError(f"{function}: {nvrtc.nvrtcGetErrorString(code).decode()}")


def _read(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _nvrtc_call(nvrtc, f"nvrtcGet{what}Size", program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    _nvrtc_call(nvrtc, f"nvrtcGet{what}", program, text)
    return text.raw


@cache
def _driver() -> ctypes.CDLL:
    name = "nvcuda.dll" if _WINDOWS else "libcuda.so.1"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise KernelError(f"the driver's {name} cannot be loaded: {error}") from error


def _driver_call(function: str, *arguments: object, what: str) -> None:
    """Call the driver with a context: a thread that has not used CUDA before has none."""
    driver = _driver()
    code = getattr(driver, function)(*arguments)
    if code == _NO_CONTEXT:
        context, device = ctypes.c_void_p(), ctypes.c_int()
        driver.cuDeviceGet(ctypes.byref(device), torch.cuda.current_device())
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)  # torch's own
        code = driver.cuCtxSetCurrent(context) or getattr(driver, function)(*arguments)
    if code:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(code, ctypes.byref(text))
        words = text.value.decode() if text.value else f"error {code}"
        raise KernelError(f"{function} for {what}: {words}")
