"""The pure parts of the portal: figures, times, the tree of a trace, the conservation law."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]


def test_the_parts_without_a_browser_hold():
    """Whatever built the portal runs its own tests of them (EVA-09)."""
    # Where the machine has no Node of its own, the build put one here.
    path = os.pathsep.join([os.environ.get("PATH", ""), str(ROOT / "build" / "node")])
    npm = shutil.which("npm", path=path)
    assert npm is not None, "the portal was built, but its npm is gone"
    done = subprocess.run(
        [npm, "test", "--silent"],
        cwd=ROOT / "gateway" / "portal",
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
