"""``compose/kafka/run fetch|start|stop|serve``: one Kafka broker on this machine.

Runs before there is anything else; so this folder uses the standard library alone. Progress goes to
stderr, the one line that says where the broker is to stdout. What is fetched and written is under
build/kafka.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from compose.kafka.broker import DEFAULT_DATA, DEFAULT_PORT, Broker, running_address, stop
from compose.kafka.jars import BrokerError, fetch, say
from compose.kafka.ports import free_port


def _start(broker: Broker) -> None:
    if running_address(broker.data) == broker.address:
        say(f"it runs already, on {broker.data}")
    else:
        broker.start()
    print(f"kafka is ready at {broker.address}", flush=True)


def _serve(broker: Broker) -> None:
    """Runs it until it ends, or until Ctrl-C or SIGTERM, which end it."""
    process = broker.start()
    print(f"kafka is ready at {broker.address}", flush=True)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        stop(broker.data)
        return
    raise BrokerError(f"Kafka ended with exit code {code}: see {broker.log}")


def _stop(data: Path) -> None:
    say("kafka is stopped" if stop(data) else f"no kafka runs on {data}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compose/kafka/run", description="A local Kafka broker.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("fetch", help="get Kafka's jars with Maven; does nothing the second time")
    for verb, does in (
        ("start", "start it in the background and wait until it is ready"),
        ("serve", "run it in the foreground"),
        ("stop", "end what `start` started"),
    ):
        asked = verbs.add_parser(verb, help=does)
        asked.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of its records")
        if verb != "stop":
            port = asked.add_argument("--port", type=int, default=DEFAULT_PORT)
            port.help = "0: any free one"
    return parser.parse_args()


def main() -> int:
    """Does what the command line asks; 2 if the operator must do something first."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # one way out for both signals
    try:
        if asked.verb == "fetch":
            fetch()
        elif asked.verb == "stop":
            _stop(asked.data)
        else:
            broker = Broker(asked.data, asked.port or free_port())
            _start(broker) if asked.verb == "start" else _serve(broker)
    except BrokerError as error:
        print(f"kafka: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
