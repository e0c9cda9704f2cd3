"""The rules of the house: who imports whom, lint, types, names."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN_NAMES = {"utils", "helpers", "manager", "common", "core"}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "command", [("ruff", "format", "--check", "."), ("ruff", "check", "."), ("mypy",)]
)
def test_lint_and_types(command):
    done = run(*command)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_who_may_import_whom():
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert "0 broken" in done.stdout


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [Path(line) for line in listing.stdout.splitlines()]


def test_nothing_is_called_by_a_name_that_says_nothing():
    named = [p for p in tracked() if {part.split(".")[0] for part in p.parts} & FORBIDDEN_NAMES]
    assert not named


def test_tests_have_no_package_files():
    """But for the fake Nuke: what is imported there is a package."""
    found = [p for p in tracked() if p.parts[0] == "tests" and p.name == "__init__.py"]
    assert [str(one) for one in found] == ["tests/hosts/fake_nuke/nuke/__init__.py"]


def test_the_client_uses_relative_imports_only():
    for path in (ROOT / "host_plugins").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "from host_plugins" not in text and "import host_plugins" not in text, path
