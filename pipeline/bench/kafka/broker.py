"""A broker of the benchmark's own, by the checkout's compose/kafka."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from pipeline.bench.kafka.systems import CHECKOUT
from pipeline.errors import ConfigError

_UP_WITHIN_S = 960.0  # the first start fetches Kafka's jars
_END_WITHIN_S = 45.0
_SAYS = "kafka is ready at "


@contextmanager
def own_broker(data: Path) -> Iterator[str]:
    """Runs a broker that keeps its records in ``data``; gives its address. It ends at the end.

    Raises:
        ConfigError: Java or Maven is missing, or it doesn't come up.
    """
    said = data.with_suffix(".log")
    command = [sys.executable, "-P", "-m", "compose.kafka", "serve"]
    with said.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--data", str(data), "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
            start_new_session=True,  # Ctrl-C is ours: the runs end first
        )
    stdout = cast(IO[str], process.stdout)  # a pipe was asked for
    try:
        yield _address(stdout, said)
    finally:
        process.terminate()
        try:
            process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        stdout.close()


def _address(stdout: IO[str], said: Path) -> str:
    end = time.monotonic() + _UP_WITHIN_S
    while time.monotonic() < end:
        if not select.select([stdout], [], [], 1.0)[0]:
            continue
        line = stdout.readline()
        if line.startswith(_SAYS):
            return line.removeprefix(_SAYS).strip()
        if not line:
            break
    words = said.read_text().strip().splitlines()
    raise ConfigError(
        f"no broker: {words[-1] if words else 'it said nothing'}; --servers HOST:PORT takes one"
        " that runs"
    )
