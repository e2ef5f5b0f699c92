"""``python -m pipeline``: the same as ``headrace``."""

from __future__ import annotations

from pipeline.cli.app import main

if __name__ == "__main__":
    main()
