"""The real command line, for the tests of every command of the analysis."""

import os
import subprocess
import sys


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``rlscale`` with these arguments, in a process of its own, on a terminal of 80 columns."""
    command = [sys.executable, "-m", "rlscale.cli", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
