"""``python -m pipeline.probe``: the probe's process, which a worker starts."""

from __future__ import annotations

from pipeline.probe.server import serve

if __name__ == "__main__":
    serve()
