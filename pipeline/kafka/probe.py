"""Knocks at a cluster before kafka-python does, which is bad at being turned away.

It meets a listener that wants TLS, another mechanism or another password by trying again and again,
and in the end says that there is none; and each client that can't be made for that, or as no broker
answers, leaves a thread and five descriptors behind (3.0.12, ``_do_bootstrap`` in
``net/manager.py``, and the constructors). So none is made before a broker has let us in.
"""

from __future__ import annotations

import ssl
import threading
import time

from kafka.net.sasl import get_sasl_mechanism

from pipeline.kafka.access import KafkaAccess
from pipeline.kafka.dialogue import Dialogue, NotKafka, connected
from pipeline.kafka.login import login_options
from pipeline.kafka.tls import why_failed

_KNOCK_EVERY_S = 0.25
_UNSUPPORTED_MECHANISM, _NO_SASL_HERE, _WRONG_LOGIN = 33, 34, 58
"""Kafka's error codes; the second is ILLEGAL_SASL_STATE."""


def knock(servers: tuple[str, ...], access: KafkaAccess, within_s: float) -> str | None:
    """Knocks until one of the servers answers; gives why they don't let us in and what to do, None
    where one does. Blocks for ``within_s`` and some seconds more where they are silent.

    Raises:
        ConfigError: a file of the settings can't be used.
        OSError: none answers.
    """
    context = access.context()
    end = time.monotonic() + within_s
    pause = threading.Event()
    while True:
        refusals: list[str] = []
        away = OSError("no server is named")
        for server in servers:
            try:
                refusal = _refusal(server, access, context)
            except OSError as error:
                away = OSError(f"{server}: {error.strerror or error}")
                continue
            if refusal is None:
                return None
            refusals.append(refusal)
        if refusals:
            return refusals[0]
        if time.monotonic() > end:
            raise away
        pause.wait(_KNOCK_EVERY_S)


def _refusal(server: str, access: KafkaAccess, context: ssl.SSLContext | None) -> str | None:
    """None where it lets us in. Raises OSError where it is away."""
    try:
        with connected(server, context) as dialogue:
            return _of_offer(server, dialogue, access)
    except TimeoutError:
        raise
    except OSError as error:
        refusal = _of_failure(server, error, access)
        # Who takes our question for none of Kafka's may still be a broker, of another make.
        if refusal is None and not isinstance(error, NotKafka):
            raise
        return refusal


def _of_offer(server: str, dialogue: Dialogue, access: KafkaAccess) -> str | None:
    """A listener with SASL answers with its mechanisms, one without by an error of its own."""
    offer = dialogue.offer(access.mechanism)
    sasl = access.settings.sasl
    if offer.error == _UNSUPPORTED_MECHANISM:
        got = f"doesn't take {sasl}" if sasl else "asks who we are"
        taken = ", ".join(each.lower() for each in offer.mechanisms)
        return f"{server} {got}: set kafka.sasl to what it takes ({taken})"
    if not sasl:
        return None
    if offer.error == _NO_SASL_HERE:
        return (
            f"{server} asks nobody who they are, and kafka.sasl is {sasl}: give the port that does,"
            " or take kafka.sasl away"
        )
    return _of_login(server, dialogue, access)


def _of_login(server: str, dialogue: Dialogue, access: KafkaAccess) -> str | None:
    host = server.rpartition(":")[0]
    options = {"security_protocol": access.protocol, **login_options(access)}
    mechanism = get_sasl_mechanism(access.mechanism)(host=host, **options)
    while not mechanism.is_done():
        reply = dialogue.authenticate(mechanism.auth_bytes())
        if reply.error == _WRONG_LOGIN:
            access.forget_token()
            return f"{server} doesn't let us in ({reply.message}): {access.mend_login()}"
        try:
            mechanism.receive(reply.token)
        except ValueError as error:  # SCRAM proves both sides
            return f"{server} doesn't know the password that it lets in ({error}): is it yours?"
    return None


def _of_failure(server: str, error: OSError, access: KafkaAccess) -> str | None:
    if not access.settings.tls:
        if _speaks_tls(server):
            return f"{server} speaks TLS: set kafka.tls = true, or give another port"
        return None
    if isinstance(error, ssl.SSLEOFError | ConnectionError) and _speaks_plainly(server):
        return f"{server} doesn't speak TLS: set kafka.tls = false, or give another port"
    return why_failed(server, error, access.settings)


def _speaks_plainly(server: str) -> bool:
    try:
        with connected(server, None) as dialogue:
            dialogue.offer("")
    except OSError:
        return False
    return True


def _speaks_tls(server: str) -> bool:
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing is told to it
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    try:
        with connected(server, unverified):
            return True
    except ssl.SSLError as error:
        return "ALERT" in str(error.reason)  # it asks for a certificate, in TLS
    except OSError:
        return False
