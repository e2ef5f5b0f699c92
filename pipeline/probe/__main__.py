"""``python -m pipeline.probe PID``: the probe's process, which the worker of that PID starts."""

from __future__ import annotations

import sys

from pipeline.probe.jail import end_with_parent, give_way
from pipeline.probe.wire import Reply

if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    Reply().write_to(sys.stdout.buffer)  # it won't outlive its worker, and so may be stopped
    give_way()  # before torch is imported, which takes seconds of CPU
    from pipeline.probe.server import serve

    serve()
