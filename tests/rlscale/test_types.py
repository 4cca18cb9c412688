"""What a type checker knows of rlscale in a user's script: ``py.typed`` and the stub of the public names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """\
import rlscale

curves = rlscale.load_curves("curves.parquet")
fit = rlscale.JointScalingFit(replicates=100).fit(curves)
reveal_type(fit.nu)
reveal_type(fit.total_interval("nu"))
reveal_type(fit.forecast(1e9).forecasts[0].N_opt)
reveal_type(rlscale.optimal_size(fit, 1e11).intervals)
reveal_type(rlscale.suggest(fit, 1e9).runs[0].seeds)
reveal_type(fit.summary())
fit.nu.lower()
"""
KNOWN = [
    "float",
    "tuple[float, float] | None",
    "float",
    "dict[str, tuple[float, float]]",
    "int",
    "pandas.core.frame.DataFrame",
]
#: Large libraries whose types the script does not need; without them the check takes a third of the time.
CONFIG = """\
[mypy]
strict = True
follow_imports = silent
[mypy-numpy.*,scipy.*,matplotlib.*,torch.*,gymnasium.*,pyarrow.*,statsmodels.*]
follow_imports = skip
"""


def test_a_strict_check_of_a_users_script_knows_the_types_of_results(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "mypy.ini").write_text(CONFIG)
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "script.py"]
    env = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert re.findall(r'Revealed type is "([^"]+)"', done.stdout) == KNOWN, done.stdout
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1
    assert '"float" has no attribute "lower"' in errors[0]
