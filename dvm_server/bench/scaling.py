"""What grows with what: memory with the clip's length, time with the unknown share and the size.

Expected before measuring: memory the same for 30 and for 300 frames, within a twentieth; the prior
proportional to the unknown pixels or a little worse (a direct solver), the network proportional to
the tiles it runs, so hardly dependent on the share.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from dvm_server.bench import networks
from dvm_server.bench.clip import write_clip
from dvm_server.bench.memory import Watch
from dvm_server.private_server import private_server
from host_plugins.client.run import run_shot
from host_plugins.client.session import Session
from host_plugins.client.shot import Keyframe, Options, Outputs, Plates, Shot

LENGTHS = (30, 300)
SHARES = (0.05, 0.15, 0.40)
MEMORY_SIZE = (160, 90)


def memory(
    lengths: Sequence[int], device: str, network: str, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Resident memory of a server and all its children, at its highest, for clips of each length.

    Keyframes at both ends, so that the span is as long as the clip, and both passes are in it.

    Raises:
        OSError: there is no /proc to read it from.
    """
    rows = []
    for frames in lengths:
        rows.append({"frames": frames, "bytes": resident_bytes(frames, device, network, tell)})
        tell(f"{frames} frames: {rows[-1]['bytes'] / 1e6:.0f} MB")
    return {
        "size": list(MEMORY_SIZE),
        "network": network,
        "rows": rows,
        "ratio": rows[-1]["bytes"] / rows[0]["bytes"],
    }


def resident_bytes(frames: int, device: str, network: str, tell: Callable[[str], None]) -> int:
    """Of one clip."""
    with tempfile.TemporaryDirectory(prefix="dvm-bench-") as name:
        folder = Path(name)
        files = write_clip(folder, *MEMORY_SIZE, frames)
        (folder / "out").mkdir()
        shot = Shot(
            name="bench",
            frames=((1, frames, 1),),
            plates=Plates(str(folder / "plate.####.exr")),
            keyframes=tuple(Keyframe(f, str(files[f])) for f in (1, frames)),
            outputs=Outputs(str(folder / "out" / "alpha.####.exr")),
            options=Options(network=network),
        )
        with (
            private_server(folder / "state", ["--device", device]) as connection,
            Watch(connection.pid) as watch,
            Session(connection, client={"host": "dvm bench", "version": ""}) as session,
        ):
            run_shot(
                session,
                shot,
                progress=lambda p: (
                    tell(f"{frames} frames: {p.stage} {p.done} of {p.total}")
                    if p.done % 50 == 0
                    else None
                ),
            )
        return watch.most


def unknown(
    device: torch.device,
    size: tuple[int, int],
    shares: Sequence[float],
    only: Sequence[str],
    tell: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Rows of `networks.measure`, matting networks alone, for each share of unknown pixels."""
    rows: list[dict[str, Any]] = []
    for share in shares:
        tell(f"{share:.0%} unknown")
        found = networks.measure(device, [size], tell, unknown=share, only=only)
        rows += found["rows"]
    return rows
