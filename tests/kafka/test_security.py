"""TLS and passwords against a real broker: what gets in, and what is said where it doesn't."""

from __future__ import annotations

import json
import selectors
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose.kafka.certificates import Authority
from pipeline.config import KafkaSettings
from pipeline.errors import ConfigError, SinkUnavailable, SourceUnavailable
from pipeline.kafka.access import KafkaAccess
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import create_topic, has_topic, kafka_errors, make_producer
from pipeline.kafka.login import login_options
from pipeline.kafka.tls import Handshakes, make_context
from tests.artifacts import publish_tiny
from tests.flow.process import Headrace
from tests.kafka.secured import (
    LOGIN,
    PASSWORD,
    TOPIC,
    USER,
    Secured,
    secured_broker,
    set_password,
    token,
)
from tests.kafka.topics import PICTURES, Topics, judge
from tests.support import wait_until
from tests.token_endpoint import CLIENT, SECRET, token_endpoint

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_broker(tmp_path_factory.mktemp("secured")) as running:
        create_topic(KafkaAddress((running.plain,), TOPIC), partitions=1)
        yield running


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and says nothing, as a frozen broker."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def private_key(secured: Secured, password: str) -> str:
    """The broker's own key, encrypted."""
    plain, encrypted = (secured.folder / "authority" / f"broker.{kind}" for kind in ("key", "enc"))
    command = ("openssl", "pkcs8", "-topk8", "-in", str(plain), "-out", str(encrypted))
    subprocess.run([*command, "-passout", f"pass:{password}"], check=True, capture_output=True)
    return str(encrypted)


def test_frames_results_and_dead_letters_go_through_tls_with_a_password(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feed by variables, worker by a file; source, sink, dead letters and what makes topics."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, picture in enumerate(PICTURES[:12]):
        (folder / f"{number:02}.jpg").write_bytes(picture)
    (folder / "99.jpg").write_bytes(PICTURES[0][: len(PICTURES[0]) // 2])
    url = f"kafka://{secured.server('secure')}/secret-frames"
    ca_file, password_file = str(secured.authority.certificate), tmp_path / "password"
    with monkeypatch.context() as env:
        env.setenv("HEADRACE_KAFKA__TLS", "true")
        env.setenv("HEADRACE_KAFKA__CA_FILE", ca_file)
        env.setenv("HEADRACE_KAFKA__SASL", "scram-sha-256")
        env.setenv("HEADRACE_KAFKA__USERNAME", USER)
        env.setenv("HEADRACE_KAFKA__PASSWORD", PASSWORD)
        with Headrace("feed", f"dir:{folder}", url, "--create", "--json") as feed:
            assert feed.end(60) == 0, feed.said()
            assert feed.summary()["sent"] == 13
    written(password_file, f"{PASSWORD}\n")
    settings = written(
        tmp_path / "headrace.toml",
        f'[kafka]\ntls = true\nca_file = "{ca_file}"\nsasl = "scram-sha-512"\n'
        f'username = "{USER}"\npassword_file = "{password_file}"\n',
    )
    registry = str(tmp_path / "registry")
    publish_tiny(registry)
    worker = ("worker", "-c", settings, "--source", f"{url}?group=g", "--max-frames", "13")
    sink = ("--sink", f"kafka://{secured.server('secure')}/secret-results?create=2")
    with Headrace(
        *worker, *sink, "--model", "tiny", "--registry", registry, "--no-server", "--json"
    ) as run:
        assert run.end(90) == 0, run.said()
        assert (run.summary()["scored"], run.summary()["rejected"]) == (12, 1)
    topics = Topics(secured.plain, "secret-frames")
    frames = topics.read("secret-frames")
    ids = [f"secret-frames/{frame.partition}/{frame.offset}" for frame in frames]
    assert judge(ids, topics.read("secret-results")).lost == frozenset()
    assert len(topics.read("secret-frames.dlq")) == 1


@pytest.mark.parametrize(
    ("listener", "settings"),
    [
        ("secure", {"sasl": "plain", **LOGIN}),
        ("secure", {"sasl": "scram-sha-256", **LOGIN}),
        ("secure", {"sasl": "scram-sha-512", **LOGIN}),
        ("clear", {"tls": False, "ca_file": "", "sasl": "scram-sha-512", **LOGIN}),
        ("tls", {}),
        ("stray", {"verify_hostname": False}),
    ],
)
def test_it_gets_in(secured: Secured, listener: str, settings: dict[str, Any]) -> None:
    assert has_topic(secured.address(listener, **{**secured.trusting, **settings}))


def test_it_gets_in_with_a_token_and_reads_a_new_one_for_each_connection(
    secured: Secured, tmp_path: Path
) -> None:
    file = written(tmp_path / "token", f"{token()}\n")
    address = secured.address("secure", **secured.trusting, sasl="oauthbearer", token_file=file)
    assert has_topic(address)
    provider = login_options(address.access)["sasl_oauth_token_provider"]
    written(tmp_path / "token", "a.newer.one")
    assert provider.token() == "a.newer.one"


def test_it_gets_in_with_a_token_that_is_issued(secured: Secured, tmp_path: Path) -> None:
    login = {"sasl": "oauthbearer", "client_id": CLIENT}
    with token_endpoint(token) as endpoint:
        login |= {"token_url": endpoint.url, "client_secret": SECRET}
        assert has_topic(secured.address("secure", **secured.trusting, **login))
        assert len(endpoint.asked) == 1
        endpoint.token = lambda: token(valid_for_s=-3600)
        with pytest.raises(ConfigError, match=r"are the tokens of .*\(kafka.token_url\) meant for"):
            has_topic(secured.address("secure", **secured.trusting, **login))
        with pytest.raises(ConfigError, match="401: invalid_client"):
            has_topic(
                secured.address("secure", **secured.trusting, **{**login, "client_secret": "no"})
            )


def test_it_gets_in_with_a_certificate_and_a_private_key_that_is_encrypted(
    secured: Secured, tmp_path: Path
) -> None:
    files = {
        "cert_file": str(secured.folder / "authority" / "broker.crt"),
        "key_file": private_key(secured, "of the key"),
        "key_password_file": written(tmp_path / "key-password", "of the key"),
    }
    assert has_topic(secured.address("mutual", **secured.trusting, **files))


def test_a_user_may_have_commas_and_equals_signs_in_the_name(secured: Secured) -> None:
    user = "cam=1,hall"
    set_password(secured, user, PASSWORD)
    login = {"sasl": "scram-sha-512", "username": user, "password": PASSWORD}
    assert has_topic(secured.address("clear", **login))


SCRAM = {"sasl": "scram-sha-512", **LOGIN}


@pytest.mark.parametrize(
    ("listener", "settings", "said"),
    [
        ("secure", {**SCRAM, "password": "wrong"}, r"is kafka.username 'worker' right"),
        ("secure", {**SCRAM, "sasl": "plain", "username": "other"}, r"is kafka.username 'other'"),
        ("secure", {}, r"asks who we are: set kafka.sasl to what it takes \(plain, scram-sha-"),
        ("tls", SCRAM, r"asks nobody who they are, and kafka.sasl is scram-sha-512"),
        ("secure", {"ca_file": ""}, r"set kafka.ca_file to the certificate of the authority"),
        ("old", {}, r"certificate has expired.*have it renewed"),
        ("stray", {}, r"certificate of localhost .*Hostname mismatch.*connect by a name"),
        ("mutual", {}, r"asks for a certificate of ours .*set kafka.cert_file"),
        ("plain", {}, r"doesn't speak TLS: set kafka.tls = false"),
        ("clear", SCRAM, r"doesn't speak TLS: set kafka.tls = false"),
    ],
)
def test_where_it_does_not_get_in_it_is_said_what_to_do(
    secured: Secured, listener: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        has_topic(secured.address(listener, **{**secured.trusting, **settings}))


@pytest.mark.parametrize(
    ("listener", "settings", "said"),
    [
        ("clear", {**SCRAM, "sasl": "plain"}, r"doesn't take plain: .*\(scram-sha-512\)"),
        ("clear", {}, r"asks who we are: set kafka.sasl"),
        ("plain", SCRAM, r"asks nobody who they are"),
        ("secure", {}, r"speaks TLS: set kafka.tls = true"),
        ("mutual", {}, r"speaks TLS: set kafka.tls = true"),
        ("tls", SCRAM, r"speaks TLS: set kafka.tls = true"),
    ],
)
def test_so_it_is_without_tls(
    secured: Secured, listener: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        has_topic(secured.address(listener, **settings))


def test_a_broker_is_not_trusted_by_another_name_or_another_authority(
    secured: Secured, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="Hostname mismatch, certificate is not valid for 'loc"):
        has_topic(secured.address("tls", host="localhost", **secured.trusting))
    other = str(Authority(tmp_path, "somebody else").certificate)
    with pytest.raises(ConfigError, match=r"ca.pem \(kafka.ca_file\) isn't of the authority"):
        has_topic(secured.address("tls", tls=True, ca_file=other))


def test_a_certificate_of_ours_that_the_broker_does_not_know_is_named(
    secured: Secured, tmp_path: Path
) -> None:
    ours = str(Authority(tmp_path, "somebody else").sign("worker"))
    with pytest.raises(ConfigError, match=r"doesn't accept the certificate in kafka.cert_file"):
        has_topic(secured.address("mutual", **secured.trusting, cert_file=ours))


def test_a_token_that_is_over_is_named(secured: Secured, tmp_path: Path) -> None:
    file = written(tmp_path / "token", token(valid_for_s=-3600))
    login = {"sasl": "oauthbearer", "token_file": file}
    with pytest.raises(ConfigError, match=r"put a token that is valid into .*token"):
        has_topic(secured.address("secure", **secured.trusting, **login))


def test_one_broker_that_lets_us_in_is_enough(secured: Secured) -> None:
    good = secured.address("tls", **secured.trusting)
    both = KafkaAddress((secured.server("mutual"), *good.servers), TOPIC, good.access)
    with kafka_errors(both):
        make_producer(both, deliver_within_s=60).close()


def test_who_got_in_once_tries_again_with_the_password_of_that_moment(
    secured: Secured, tmp_path: Path
) -> None:
    file = written(tmp_path / "password", PASSWORD)
    login = {"sasl": "scram-sha-512", "username": USER, "password_file": file}
    address = secured.address("clear", **login)
    assert has_topic(address)
    written(tmp_path / "password", "changed here first")
    with pytest.raises(SourceUnavailable, match="doesn't let us in"):
        has_topic(address)
    (tmp_path / "password").unlink()
    with (
        pytest.raises(SinkUnavailable, match=r"kafka.password_file: .* can't be read"),
        kafka_errors(address, SinkUnavailable),
    ):
        make_producer(address, deliver_within_s=60)
    written(tmp_path / "password", PASSWORD)
    assert has_topic(address)


def test_a_worker_whose_password_is_renewed_under_it_scores_all(
    secured: Secured, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    written(password, "first")
    set_password(secured, "renewed", "first")
    settings = written(
        tmp_path / "headrace.toml",
        f'[kafka]\nsasl = "scram-sha-512"\nusername = "renewed"\npassword_file = "{password}"\n',
    )
    registry = str(tmp_path / "registry")
    publish_tiny(registry)
    topics = Topics(secured.plain)
    place = f"kafka://{secured.server('fleeting')}"
    with Headrace(
        *("worker", "-c", settings, "--source", f"{place}/{topics.name}?group=g&session=6s"),
        *("--sink", f"{place}/{topics.results}", "--model", "tiny", "--registry", registry),
        *("--no-server", "--json"),
    ) as run:
        sent = topics.send_pictures(8)
        wait_until(lambda: topics.has_all(sent), 60)
        set_password(secured, "renewed", "second")
        wait_until(lambda: "doesn't let us in" in run.said(), 60)
        sent += topics.send_pictures(8)
        written(password, "second")
        wait_until(lambda: topics.has_all(sent), 60)
        run.signal(signal.SIGTERM)
        assert run.end(60) == 0, run.said()
        assert "Traceback" not in run.said()


def test_nobody_waits_for_ever_for_a_broker_that_is_frozen_in_its_handshake(
    secured: Secured, silent: str
) -> None:
    context = make_context(KafkaSettings(**secured.trusting), "", Handshakes())
    context.handshake_within_s = 0.2
    host, _, port = silent.rpartition(":")
    plain = socket.create_connection((host, int(port)))
    plain.setblocking(False)
    waiting = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    with waiting, selectors.DefaultSelector() as selector:  # as kafka-python waits
        with pytest.raises(ssl.SSLWantReadError):
            waiting.do_handshake()
        selector.register(waiting, selectors.EVENT_READ)
        assert selector.select(20), "nobody woke it"
        with pytest.raises(ssl.SSLEOFError):
            waiting.do_handshake()


def test_a_handshake_that_ends_in_time_leaves_the_connection_alone(secured: Secured) -> None:
    handshakes = Handshakes()
    context = make_context(KafkaSettings(**secured.trusting), "", handshakes)
    context.handshake_within_s = 0.2
    host, _, port = secured.server("tls").rpartition(":")
    plain = socket.create_connection((host, int(port)))
    with (
        context.wrap_socket(plain, server_hostname=host) as encrypted,
        selectors.DefaultSelector() as selector,
    ):
        assert encrypted.version() in ("TLSv1.2", "TLSv1.3")
        encrypted.setblocking(False)
        selector.register(encrypted, selectors.EVENT_READ)
        for _ in selector.select(1.0):  # TLS's own tickets may come, an end may not
            with pytest.raises(ssl.SSLWantReadError):
                encrypted.recv(1)
    assert handshakes.complaint() is None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("verb", ["feed", "check"])
def test_a_wrong_password_is_one_line_with_exit_code_2_and_is_nowhere_shown(
    secured: Secured, tmp_path: Path, verb: str
) -> None:
    secret = "tell-nobody"
    settings = written(
        tmp_path / "headrace.toml",
        f'[kafka]\ntls = true\nca_file = "{secured.authority.certificate}"\nsasl = "plain"\n'
        f'username = "{USER}"\npassword = "{secret}"\n',
    )
    url = f"kafka://{secured.server('secure')}/{TOPIC}"
    arguments = {
        "feed": ("synthetic:digits", url),
        "check": ("--source", url, "--sink", url, "--json", "--no-server"),
    }
    with Headrace("--debug", verb, *arguments[verb], "-c", settings) as run:
        assert run.end(60) == 2, run.said()
        said = run.said() + "".join(run.out)
    assert "Invalid username or password" in said
    assert secret not in said
    if verb == "check":
        found = {each["what"]: each["detail"] for each in json.loads(run.out[-1])["checks"]}
        for what in ("source", "sink", "dead letters"):
            assert "is kafka.username 'worker' right" in found[what]


def broken(secured: Secured, folder: Path) -> dict[str, dict[str, str]]:
    """Settings whose files can't be used, by what is said of them."""
    other = Authority(folder / "other").sign("other")
    certificate = str(secured.folder / "authority" / "broker.crt")
    encrypted = private_key(secured, "of the key")
    nothing = written(folder / "nothing", "")
    return {
        "kafka.ca_file: .*absent can't be read: No such file": {"ca_file": str(folder / "absent")},
        "kafka.ca_file: .*nothing holds no certificate": {"ca_file": nothing},
        "kafka.cert_file: .*absent can't be read": {"cert_file": str(folder / "absent")},
        "kafka.cert_file: .*a key that is in a file of its own": {"cert_file": certificate},
        "isn't that of the certificate": {"cert_file": certificate, "key_file": str(other)},
        "is encrypted: set kafka.key_password_file": {
            "cert_file": certificate,
            "key_file": encrypted,
        },
        "isn't the password of the private key": {
            "cert_file": certificate,
            "key_file": encrypted,
            "key_password": "wrong",
        },
    }


def test_files_that_cannot_be_used_are_named_before_anything_connects(
    secured: Secured, tmp_path: Path
) -> None:
    for said, settings in broken(secured, tmp_path).items():
        with pytest.raises(ConfigError, match=said):
            KafkaAccess.of(KafkaSettings(**{**secured.trusting, **settings}))
