"""Figures of `dvm bench` as the tables that people read, in Markdown. Needs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Found = Mapping[str, Any]


def machine(found: Found) -> str:
    """One sentence: where, with what, by which command."""
    on = f"{found['gpu']}, {found['cpu']}" if found["gpu"] else str(found["cpu"])
    busy = (
        f"; others were at work on it (load up to {found['load']})"
        if found["load"] > found["cores"] + 0.5
        else ""
    )
    return (
        f"`{found['command']}` at {found['commit']}: {on}, {found['cores']} cores, "
        f"{found['threads']} threads, torch {found['torch']}{busy}."
    )


def networks(found: Found) -> str:
    """Seconds a frame of every network; the prior apart."""
    rows = [
        [
            row["network"],
            _size(row["size"]),
            row["precision"],
            f"{row['prior_s']:.3f}" if row["prior_s"] else "–",
            f"{row['network_s']:.3f}",
            f"{row['frames_per_second']:.2f}",
            f"{row['cold_s']:.2f}",
            "–" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}",
        ]
        for row in found["rows"]
    ]
    head = ["network", "size", "type", "prior, s", "network, s", "frames/s", "first, s", "peak, MB"]
    text = _table(head, rows, texts=3)
    text += f"\n{found['unknown']:.0%} of each frame unknown."
    return text + "".join(f" Left out: {one}." for one in found["left_out"]) + "\n"


def pipeline(found: Found) -> str:
    """Milliseconds a frame of each stage alone, together, and the ratio."""
    rows = []
    for row in found["rows"]:
        alone = [1e3 * seconds / row["frames"] for seconds in row["alone"].values()]
        rows.append(
            [
                row["network"],
                *(f"{one:.1f}" for one in alone),
                f"{sum(alone):.1f}",
                f"{1e3 * row['wall'] / row['frames']:.1f}",
                f"{row['ratio']:.2f} × {row['slowest']}",
                f"{row['processor'] / row['processor_alone']:.2f}",
            ]
        )
    stages = list(found["rows"][0]["alone"]) if found["rows"] else []
    head = [
        f"ms a frame, {_size(found['size'])}",
        *stages,
        "in turn",
        "together",
        "ratio",
        "processor time",
    ]
    return _table(head, rows)


def server(found: Found) -> str:
    """A server against the same loop in process, steady and with starting up."""
    rows = [
        [
            row["network"],
            f"{1e3 * row['in_process_s'] / row['frames']:.1f}",
            f"{1e3 * row['server_s'] / row['frames']:.1f}",
            f"**{row['steady']:.2f}**",
            f"{row['whole_in_process_s']:.1f}",
            f"{row['whole_server_s']:.1f}",
            f"{row['whole']:.2f}",
            str(row["frames"]),
            _rate(row["frames"], row["server_s"]),
            _rate(row["frames"], row.get("carried_s")),
        ]
        for row in found["rows"]
    ]
    head = [
        f"{_size(found['size'])}", "in process, ms a frame", "server", "ratio",
        "from nothing: in process, s", "server", "ratio", "frames", "server, frames/s",
        "from two keyframes, frames/s",
    ]  # fmt: skip
    return _table(head, rows)


def _rate(frames: int, seconds: float | None) -> str:
    return "–" if seconds is None else f"{frames / seconds:.2f}"


def scaling(found: Found) -> str:
    """Memory against length, time against the unknown share."""
    parts = []
    if "memory" in found:
        told = found["memory"]
        lengths = [f"{row['frames']} frames" for row in told["rows"]]
        figures = [f"{row['bytes'] / 1e6:.0f}" for row in told["rows"]]
        head = [f"resident MB, server and children, {_size(told['size'])}", *lengths, "ratio"]
        parts.append(
            _table(head, [[told["network"] or "default", *figures, f"{told['ratio']:.3f}"]])
        )
    if found.get("unknown"):
        rows = [
            [
                row["network"],
                f"{row['unknown']:.0%}",
                f"{row['prior_s']:.3f}",
                f"{row['network_s']:.3f}",
                f"{1e6 * row['prior_s'] / (row['unknown'] * row['size'][0] * row['size'][1]):.2f}",
            ]
            for row in found["unknown"]
        ]
        size = _size(found["unknown"][0]["size"])
        head = [size, "unknown", "prior, s", "network, s", "prior, µs an unknown pixel"]
        parts.append(_table(head, rows))
    return "\n".join(parts)


def weights(found: Sequence[Found]) -> str:
    """Size of what is shipped."""
    rows = [
        [one["network"], f"{one['parameters'] / 1e6:.2f}", f"{one['bytes'] / 1e6:.1f}"]
        for one in found
    ]
    return _table(["learned network", "parameters, millions", "MB"], rows)


def _size(size: Sequence[int]) -> str:
    return f"{size[0]}×{size[1]}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """``texts``: how many columns hold no numbers."""
    lines = [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * texts + "--:|" * (len(head) - texts),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"
