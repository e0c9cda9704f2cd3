"""The README's figures of speed and memory, rendered from the committed results and put there.

    .venv/bin/python tests/benchmarks/performance_table.py [--check]

Reads `results/bench.json` (`make bench`) and, if it is there, `results/gpu_bench.json` (`make
gpu-bench`, on a machine with a GPU); nothing in the table is typed by hand. ``--check`` changes
nothing and ends with 1 if the README says something else.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from cuda_ops import bench as ops  # noqa: E402
from dvm_server.bench import tables  # noqa: E402

README, RESULTS = ROOT / "README.md", Path(__file__).parent / "results"
BEGIN, END = "<!-- figures of dvm bench: begin -->", "<!-- figures of dvm bench: end -->"
NO_GPU = (
    "No GPU was at hand: nothing here was measured on one. `make gpu-bench` on a machine that has "
    "one writes\n`tests/benchmarks/results/gpu_bench.json`, and its figures come to stand here."
)


def both_forms(rows):
    """`st_fam_r50`: its plain form, in the same numbers and as published, beside what runs."""
    lines = [
        "| st_fam_r50 | plain, ms | what runs, ms | ratio | plain in float32, ms | ratio "
        "| largest difference |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        whole = row.get("seconds_plain_float32", row["seconds_plain"])
        difference = row.get(
            "largest_difference_from_float32", row["largest_difference_where_unknown"]
        )
        lines.append(
            f"| {row['size'].replace('x', '×')} {row['type']} | {1e3 * row['seconds_plain']:.1f} "
            f"| {1e3 * row['seconds_fast']:.1f} | {row['seconds_ratio']:.2f} | {1e3 * whole:.1f} "
            f"| **{whole / row['seconds_fast']:.2f}** | {difference:.1e} |"
        )
    return "\n".join(lines) + "\n"


PARTS = (
    ("networks", "Networks", tables.networks),
    ("pipeline", "Stages of a clip by path, alone and together", tables.pipeline),
    ("server", "A server against the engine in process", tables.server),
    ("scaling", "What grows with what", tables.scaling),
    ("weights", "Shipped weights", tables.weights),
)


def render(results=RESULTS):
    """What stands between the markers."""
    parts = []
    here, gpu = results / "bench.json", results / "gpu_bench.json"
    for path in (here, gpu):
        if not path.exists():
            parts.append(NO_GPU + "\n" if path == gpu else f"`{path.name}` is not there.\n")
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        parts.append(tables.machine(found["machine"]) + "\n")
        for name, title, table in PARTS:
            if name in found:
                parts.append(f"*{title}*\n")
                parts.append(table(found[name]))
        if "st_fam_r50" in found:
            parts.append(both_forms(found["st_fam_r50"]))
        if "ops" in found and path == gpu:
            parts.append("*Deformable convolution*, milliseconds\n")
            parts.append(f"```\n{ops.table(found['ops'])}```\n")
    return "\n".join(parts)


def placed(text, block):
    """The README with the block in it."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{README.name} lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{block}\n{END}{after}"


def main():
    text = README.read_text(encoding="utf-8")
    wanted = placed(text, render())
    if "--check" in sys.argv[1:]:
        return int(text != wanted)
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
