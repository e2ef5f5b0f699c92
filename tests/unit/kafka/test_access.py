from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import KafkaSettings
from pipeline.errors import ConfigError
from pipeline.kafka.access import KafkaAccess
from pipeline.kafka.address import parse_kafka_url
from pipeline.kafka.login import login_options

LOGIN = {"username": "worker", "password": "tell-nobody"}
ENDPOINT = {"token_url": "https://h/t", "client_id": "worker", "client_secret": "tell-nobody"}


def access(**settings: Any) -> KafkaAccess:
    return KafkaAccess.of(KafkaSettings(**settings))


@pytest.mark.parametrize(
    ("settings", "protocol"),
    [
        ({}, "PLAINTEXT"),
        ({"tls": True}, "SSL"),
        ({"sasl": "scram-sha-256", **LOGIN}, "SASL_PLAINTEXT"),
        ({"tls": True, "sasl": "plain", **LOGIN}, "SASL_SSL"),
    ],
)
def test_settings_are_one_of_kafkas_protocols(settings: dict[str, Any], protocol: str) -> None:
    assert access(**settings).protocol == protocol
    assert (access(**settings).context() is not None) == bool(settings.get("tls"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ca_file": "ca.pem"}, "kafka.ca_file is set, but kafka.tls isn't: set kafka.tls = true"),
        ({"verify_hostname": False}, "kafka.verify_hostname is set, but kafka.tls isn't"),
        ({"tls": True, "key_file": "k.pem"}, "kafka.key_file is set, but kafka.cert_file isn't"),
        ({"password": "tell-nobody"}, "kafka.password is set, but kafka.sasl isn't: set it to one"),
        ({"token_file": "t"}, "kafka.token_file is set, but kafka.sasl isn't"),
        ({"sasl": "plain", "username": "u"}, "needs kafka.password or kafka.password_file: set it"),
        ({"sasl": "plain", "password": "p"}, "kafka.sasl is plain, which needs kafka.username"),
        ({"sasl": "plain", "token_file": "t", **LOGIN}, "kafka.sasl is plain: set it to oauthb"),
        ({"sasl": "oauthbearer"}, "which needs kafka.token_file or kafka.token_url"),
        ({"sasl": "oauthbearer", **LOGIN}, "kafka.sasl is oauthbearer: set it to plain or scram"),
        ({"sasl": "oauthbearer", "token_file": "t", **ENDPOINT}, "kafka.token_file is, too"),
        ({"sasl": "oauthbearer", "token_url": "https://h/t"}, "which needs kafka.client_id"),
        ({"sasl": "plain", **LOGIN, **ENDPOINT}, "kafka.sasl is plain: set it to oauthbearer"),
        ({"sasl": "oauthbearer", **ENDPOINT, "token_url": "http://h/t"}, "expected https://HOST"),
        ({"sasl": "oauthbearer", **ENDPOINT, "token_url": "file:///t"}, "expected https://HOST"),
        ({"sasl": "oauthbearer", **ENDPOINT, "token_url": "https://a:b@h/"}, "without a user"),
        ({"sasl": "plain", "password_file": "f", **LOGIN}, "are both set: take one away"),
        ({"sasl": "plain", "username": "u", "password_file": "absent"}, "absent can't be read"),
        ({"sasl": "oauthbearer", "token_file": "absent"}, "kafka.token_file: absent can't be read"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        access(**settings)
    assert said in str(refused.value)
    assert "tell-nobody" not in str(refused.value)


@pytest.mark.parametrize(("content", "said"), [(b"\n", "is empty"), (b"\xff\xfe", "isn't text")])
def test_a_file_without_a_password_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        access(sasl="plain", username="u", password_file=str(file))


def test_a_password_is_in_nothing_that_is_printed() -> None:
    made = access(sasl="plain", **LOGIN)
    address, _ = parse_kafka_url("kafka://h/t", made)
    for shown in (repr(made), str(made.settings), repr(address), str(address)):
        assert "tell-nobody" not in shown
    assert login_options(made)["sasl_plain_password"] == "tell-nobody"


def test_a_password_file_is_read_each_time_and_its_last_line_end_is_no_part(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    made = access(sasl="scram-sha-256", username="u", password_file=str(file))
    assert made.password() == "one"
    file.write_text("two\r\n")
    assert made.password() == "two"


def test_a_stamp_changes_when_a_file_is_renewed_and_only_then(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one")
    made = access(sasl="plain", username="u", password_file=str(file))
    before = made.stamp()
    assert made.stamp() == before
    newer = tmp_path / "newer"
    newer.write_text("two")
    newer.rename(file)
    assert made.stamp() != before
    file.unlink()
    assert made.stamp() != before
    assert access().stamp() == access().stamp()


def test_what_goes_over_the_network_readably_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        access(tls=True, sasl="plain", **LOGIN)
        access(sasl="scram-sha-256", **LOGIN)
        assert not caplog.records
        access(sasl="plain", **LOGIN)
        access(tls=True, verify_hostname=False)
    assert [record.message.split()[0] for record in caplog.records] == [
        "kafka.sasl",
        "kafka.verify_hostname",
    ]


def test_only_where_it_got_in_a_refusal_is_an_outage() -> None:
    made = access()
    made.note_entry(("a:1",))
    assert made.has_entered(("a:1",))
    assert not made.has_entered(("b:1",))
