"""``headrace keys``, and keys in the verbs that publish."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.artifact.keys import PASSPHRASE_VARIABLE, PublicKey, SigningKey
from pipeline.artifact.registry import Registry
from pipeline.artifact.signature import TrustedKeys
from pipeline.cli.keys import app as keys
from pipeline.errors import ConfigError
from tests.artifacts import publish_tiny
from tests.cli.headrace import headrace
from trainer.__main__ import app as trainer


def run(*arguments: str) -> str:
    ran = CliRunner().invoke(keys, arguments, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_a_new_key_says_what_each_half_is_for(tmp_path: Path) -> None:
    said = run("new", str(tmp_path / "publisher"))
    public = PublicKey.of(str(tmp_path / "publisher.pub"))
    assert f'model.trusted_keys = ["{public}"]' in said
    assert "Keep it secret" in said
    assert "PRIVATE" not in said
    for file in ("publisher", "publisher.pub"):
        assert run("show", str(tmp_path / file)).strip() == str(public)
    made = json.loads(run("new", str(tmp_path / "other"), "--json"))
    assert made["key"] == str(SigningKey.read(tmp_path / "other").public)


def test_what_is_trained_is_signed(tmp_path: Path) -> None:
    run("new", str(tmp_path / "key"))
    registry = str(tmp_path / "registry")
    options = ["--epochs", "1", "--train-samples", "64", "--run", str(tmp_path / "run")]
    target = ["--publish", "digits", "--registry", registry, "--sign", str(tmp_path / "key")]
    ran = CliRunner().invoke(trainer, ["train", *options, *target], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    trusted = TrustedKeys.of([str(tmp_path / "key.pub")])
    assert Registry(registry, trusted).read("digits", 1).manifest.version == 1


def test_a_key_that_is_not_there_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    options = ["--run", str(run_folder), "--registry", str(tmp_path / "registry")]
    with pytest.raises(ConfigError, match=r"the key .*absent can't be read"):
        CliRunner().invoke(
            trainer,
            ["train", "--publish", "digits", "--sign", str(tmp_path / "absent"), *options],
            catch_exceptions=False,
        )
    assert not run_folder.exists()
    with pytest.raises(ConfigError, match="--sign goes with --publish"):
        CliRunner().invoke(trainer, ["train", "--sign", "key", *options], catch_exceptions=False)


def test_a_worker_and_its_check_take_the_keys_from_settings(tmp_path: Path) -> None:
    run("new", str(tmp_path / "key"))
    key = str(SigningKey.read(tmp_path / "key").public)
    registry = Registry(str(tmp_path / "registry"))
    publish_tiny(registry)
    env = {"HEADRACE_MODEL__TRUSTED_KEYS": key, PASSPHRASE_VARIABLE: ""}
    options = ["--model", "tiny", "--registry", registry.url, "--source", "synthetic:digits"]
    refused = headrace("worker", *options, "--sink", "null:", "--no-server", env=env)
    assert refused.code == 1
    assert "tiny@1 isn't signed" in refused.err
    assert "tiny@1 isn't signed" in "".join(_checked(options, env))
    registry.sign(registry.read("tiny", 1), SigningKey.read(tmp_path / "key"))
    ended = headrace(
        *("worker", *options, "--sink", "null:", "--no-server", "--max-frames", "5", "--json"),
        env={**env, "HEADRACE_MODEL__TRUSTED_KEYS": json.dumps([key, str(tmp_path / "key.pub")])},
    )
    assert ended.code == 0
    assert json.loads(ended.out)["scored"] == 5


def _checked(options: list[str], env: dict[str, str]) -> tuple[str, str]:
    ran = headrace("check", *options, "--sink", "null:", "--no-server", env=env)
    assert ran.code != 0
    return ran.out, ran.err


def test_a_setting_that_is_no_key_is_the_operators_error(tmp_path: Path) -> None:
    publish_tiny(str(tmp_path))
    ran = headrace(
        *("worker", "--model", "tiny", "--registry", str(tmp_path), "--no-server"),
        *("--source", "synthetic:digits", "--sink", "null:"),
        env={"HEADRACE_MODEL__TRUSTED_KEYS": "ed25519:short"},
    )
    assert ran.code == 2
    assert "32 bytes in base64" in ran.err
