"""``python -m pipeline.probe PID``: the probe's process, which the worker of that PID starts."""

from __future__ import annotations

import sys

from pipeline.probe.server import serve

if __name__ == "__main__":
    serve(int(sys.argv[1]))
