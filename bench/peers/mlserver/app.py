"""Writes MLServer's settings files, and becomes MLServer."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="headrace-bench-mlserver-"))
    settings = {
        "host": "127.0.0.1",
        "http_port": asked.port,
        "grpc_port": asked.port + 1,
        "metrics_endpoint": None,
        "parallel_workers": 1,
        "debug": False,
        "logging_settings": None,
    }
    model = {
        "name": "bench",
        "implementation": "runtime.Classifier",
        "max_batch_size": 32,
        "max_batch_time": 0.005,
        "parameters": {"uri": str(Path(asked.model).resolve())},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    os.execv(sys.executable, [sys.executable, "-m", "mlserver.cli.main", "start", str(folder)])


if __name__ == "__main__":
    main()
