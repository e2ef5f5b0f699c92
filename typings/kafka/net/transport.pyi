import socket
from collections.abc import Callable
from typing import Any

class KafkaTCPTransport:
    _sock: socket.socket
    _sock_recv: Callable[[Any], Any]

class KafkaSSLTransport(KafkaTCPTransport): ...
