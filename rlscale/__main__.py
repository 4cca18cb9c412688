"""``python -m rlscale`` is the command ``rlscale``."""

from __future__ import annotations

from rlscale.cli import main

main()
