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
from compose.kafka.ports import HOST, free_port
from compose.kafka.secure import secure_listener, write_client_settings


def _start(broker: Broker) -> None:
    if running_address(broker.data) != broker.address:
        broker.start()
    elif broker.listeners and not broker.listens_alike():
        raise BrokerError(f"the broker on {broker.data} has no secure port: stop it first")
    else:
        say(f"it runs already, on {broker.data}")
    _tell(broker)


def _tell(broker: Broker) -> None:
    print(f"kafka is ready at {broker.address}", flush=True)
    for each in broker.listeners:
        settings = write_client_settings(broker.data)
        print(f"with TLS at {HOST}:{each.port}: headrace … -c {settings}", flush=True)


def _serve(broker: Broker) -> None:
    """Runs it until it ends, or until Ctrl-C or SIGTERM, which end it."""
    process = broker.start()
    _tell(broker)
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
            asked.add_argument(
                "--secure", action="store_true", help="a port with TLS and a password as well"
            )
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
            at = asked.port or free_port()
            secure = (secure_listener(asked.data, at),) if asked.secure else ()
            broker = Broker(asked.data, at, secure)
            _start(broker) if asked.verb == "start" else _serve(broker)
    except BrokerError as error:
        print(f"kafka: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
