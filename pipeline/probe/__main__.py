"""``python -m pipeline.probe PID``: the probe's process, which the worker of that PID starts."""

from __future__ import annotations

import sys

from pipeline.probe.jail import end_with_parent, give_way

if __name__ == "__main__":
    parent = int(sys.argv[1])
    end_with_parent(parent)
    give_way()  # before torch is imported, which takes seconds of CPU
    from pipeline.probe.server import serve

    serve(parent)
