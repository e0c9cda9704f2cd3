"""How long the add-on holds Blender's main thread, in a real window with a 1080p clip by path.

    python tests/benchmarks/blender_stalls.py [--out FILE] [--frames 12]

Blender 3.4.1 runs on a virtual screen and does what `tests/hosts/window/script.py` does. Every call
of ours in the main thread is timed: the timer (`pump`, with what it does to the group inside of it)
and the operators. Beside it stands the longest gap between two turns of Blender's own timers, which
has its drawing in it, by software here: the ratio says how much of what an artist feels is ours.

Expected before measuring: the longest below 50 ms. (At first all of a group was shown in one turn:
298 ms, for Blender reads a file at each change; `Image.reload` took up to 54. Now one layer a turn,
and what is held is only dropped.)
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.hosts.window.running import missing_programs, run_script, virtual_screen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--size", type=int, nargs=2, default=(1920, 1080))
    options = parser.parse_args()
    gone = missing_programs()
    if gone:
        raise SystemExit(f"install {', '.join(gone)} first")
    with tempfile.TemporaryDirectory() as folder, virtual_screen() as screen:
        told = run_script(screen, Path(folder), options.frames, tuple(options.size), 560)
    calls: dict[str, list[float]] = {}
    for name, seconds in told["stalls"]:
        calls.setdefault(name, []).append(1000 * seconds)
    gap = 1000 * told["gap"]
    print("| call | times | median ms | longest ms | ÷ longest gap between timers |")
    print("|---|--:|--:|--:|--:|")
    rows = []
    for name, took in sorted(calls.items(), key=lambda one: -max(one[1])):
        took.sort()
        row = {
            "call": name,
            "times": len(took),
            "median_ms": took[len(took) // 2],
            "longest_ms": took[-1],
            "ratio": took[-1] / gap,
        }
        rows.append(row)
        print(
            f"| {name} | {row['times']} | {row['median_ms']:.2f} | {row['longest_ms']:.1f} | "
            f"{row['ratio']:.3f} |"
        )
    print(f"longest gap between two turns of Blender's timers: {gap:.0f} ms")
    if options.out:
        record = {"size": options.size, "frames": options.frames, "gap_ms": gap, "calls": rows}
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
