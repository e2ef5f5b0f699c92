"""``headrace models`` on a real registry with real networks."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.artifact.artifact import Draft, Golden
from pipeline.artifact.keys import SigningKey
from pipeline.artifact.manifest import MODEL_FILE
from pipeline.artifact.registry import Registry
from pipeline.cli.models import app
from pipeline.cores import usable_cores
from pipeline.engine.laps import KeptRaces, Lap, Raced, Runner
from pipeline.errors import ArtifactRefused, ConfigError
from tests.artifacts import publish_tiny, tiny_draft, tiny_onnx_bytes, with_onnx


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    there = Registry(str(tmp_path / "models"))
    for bias in (0.1, 0.2, 0.3):
        publish_tiny(there, bias=bias)
    return there


def _run(registry: Registry, *arguments: str, columns: int | None = 200) -> str:
    ran = CliRunner().invoke(
        app,
        [*arguments, "--registry", registry.url],
        catch_exceptions=False,
        env={"COLUMNS": None if columns is None else str(columns)},
    )
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def _json(registry: Registry, *arguments: str) -> Any:
    lines = _run(registry, *arguments, "--json").splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def test_list_names_versions_and_aliases(registry: Registry) -> None:
    table = _run(registry, "list")
    assert "tiny" in table
    assert "latest" in table
    assert "accuracy 0.5" in table
    [model] = _json(registry, "list")
    assert model["name"] == "tiny"
    assert model["aliases"] == {"latest": 3}
    assert [each["version"] for each in model["versions"]] == [1, 2, 3]
    assert model["versions"][2]["sha256"] == registry.manifest("tiny", 3).sha256


def test_list_has_one_line_a_version_that_fits_a_narrow_terminal(tmp_path: Path) -> None:
    there = Registry(str(tmp_path))
    metrics = {"accuracy": 0.97654, "heldout_loss": 0.123456, "train_loss": 0.0987654}
    for _ in range(3):
        there.publish(replace(tiny_draft("street-signs"), metrics=metrics), ("latest", "prod"))
    header, *lines = _run(there, "list", columns=80).splitlines()
    assert header.split()[:2] == ["model", "made"]
    assert [line.split()[0] for line in lines] == [f"street-signs@{each}" for each in (1, 2, 3)]
    digest = there.manifest("street-signs", 3).sha256
    assert all(digest[:8] in line and "accuracy 0.9" in line for line in lines)
    assert "latest,prod" in lines[2]
    assert max(map(len, [header, *lines])) <= 80
    # Nothing is cut off for a program at the other end of a pipe.
    assert "train_loss 0.09877" in _run(there, "list", columns=None).splitlines()[1]


def test_show_breaks_no_digest_at_80_columns(tmp_path: Path) -> None:
    labels = tuple(f"class-{number}" for number in range(30))
    manifest = publish_tiny(str(tmp_path), labels=labels)
    lines = _run(Registry(str(tmp_path)), "show", "tiny", columns=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line.endswith(manifest.sha256)]
    assert "class-19, and 10 more" in " ".join(line.strip() for line in lines)


def test_list_shows_what_is_wrong_with_a_version_beside_the_others(registry: Registry) -> None:
    (Path(registry.url) / "tiny" / "2" / "manifest.json").write_text("{")
    [model] = _json(registry, "list")
    assert "isn't JSON" in model["versions"][1]["problem"]
    assert "isn't JSON" in _run(registry, "list")


def test_list_names_aliases_whose_version_is_not_there(registry: Registry) -> None:
    (Path(registry.url) / "tiny" / "3" / "manifest.json").unlink()
    (_, line) = _run(registry, "list").split("tiny@2", 1)[1].split("\n", 1)
    assert line.startswith("tiny@latest stands for version 3, which isn't there, or not whole")
    assert _json(registry, "list")[0]["aliases"] == {"latest": 3}


def test_list_of_an_empty_registry_says_how_to_fill_it(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["list", "--registry", str(tmp_path)], catch_exceptions=False)
    assert ran.exit_code == 0
    assert "train --publish" in ran.stderr


def test_show_gives_the_manifest(registry: Registry) -> None:
    shown = _json(registry, "show", "tiny@2")
    assert shown["schema"] == "headrace.artifact/1"
    assert shown["version"] == 2
    assert shown["aliases"] == []
    assert shown["contract"]["labels"] == ["dark", "mid", "bright"]
    table = _run(registry, "show", "tiny")
    assert "dark, mid, bright" in table
    assert registry.manifest("tiny", 3).sha256 in table


def test_verify_runs_the_golden_inputs(registry: Registry) -> None:
    assert "tiny@3 is sound" in _run(registry, "verify", "tiny")
    done = _json(registry, "verify", "tiny@1")
    assert (done["version"], done["verified"], done["golden"]) == (1, True, 4)


def test_verify_refuses_altered_bytes(registry: Registry) -> None:
    path = Path(registry.url) / "tiny" / "3" / MODEL_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactRefused, match="sha256"):
        _run(registry, "verify", "tiny")


def test_promote_moves_an_alias_and_says_from_where(registry: Registry) -> None:
    assert "tiny@prod is now version 2 (a new alias)" in _run(
        registry, "promote", "tiny@2", "--alias", "prod"
    )
    moved = _json(registry, "promote", "tiny@latest", "--alias", "prod")
    assert moved == {"name": "tiny", "alias": "prod", "version": 3, "previous": 2}
    assert registry.aliases("tiny") == {"latest": 3, "prod": 3}


def test_promote_refuses_a_network_that_counts_otherwise_than_its_exporter(
    registry: Registry,
) -> None:
    draft = tiny_draft(bias=0.4)
    wrong = Golden(draft.golden.inputs_nhwc, draft.golden.logits_nk + 1)
    registry.publish(replace(draft, golden=wrong), aliases=())
    with pytest.raises(ArtifactRefused, match="1 off, expected at most") as refused:
        _run(registry, "promote", "tiny@4", "--alias", "prod")
    assert refused.value.reason == "wrong_on_golden"
    assert registry.aliases("tiny") == {"latest": 3}


def test_rollback_goes_one_complete_version_down_at_a_time(registry: Registry) -> None:
    (Path(registry.url) / "tiny" / "2" / "manifest.json").unlink()
    assert "tiny@latest is now version 1 (it was 3)" in _run(registry, "rollback", "tiny")
    assert registry.resolve("tiny") == 1
    with pytest.raises(ArtifactRefused, match="no lower complete version"):
        _run(registry, "rollback", "tiny")
    assert registry.resolve("tiny") == 1


def test_rollback_of_an_alias_that_is_not_there_names_those_that_are(registry: Registry) -> None:
    with pytest.raises(ArtifactRefused, match="no alias 'prod', expected one of latest"):
        _run(registry, "rollback", "tiny", "--alias", "prod")
    with pytest.raises(ArtifactRefused, match="no model 'other'"):
        _run(registry, "rollback", "other")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    SigningKey.new().write(tmp_path / "publisher")
    return tmp_path / "publisher"


def test_a_version_is_signed_and_held_to_it(registry: Registry, key: Path) -> None:
    public = f"{key}.pub"
    with pytest.raises(ArtifactRefused, match="isn't signed"):
        _run(registry, "verify", "tiny@2", "--trusted-key", public)
    signed = _json(registry, "sign", "tiny@2", "--key", str(key))
    assert signed == {
        "name": "tiny",
        "version": 2,
        "sha256": registry.manifest("tiny", 2).sha256,
        "key": str(SigningKey.read(key).public),
    }
    said = _run(registry, "verify", "tiny@2", "--trusted-key", signed["key"])
    assert "signed by a trusted key" in said
    assert _json(registry, "verify", "tiny@2")["trusted"] is False


def test_what_is_not_sound_is_not_signed(registry: Registry, key: Path) -> None:
    path = Path(registry.url) / "tiny" / "3" / MODEL_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactRefused, match="sha256"):
        _run(registry, "sign", "tiny@3", "--key", str(key))
    assert not registry.is_signed("tiny", 3)


def test_a_rollback_for_workers_with_trusted_keys_publishes_the_older_bytes_anew(
    registry: Registry, key: Path
) -> None:
    for version in (1, 2, 3):
        registry.sign(registry.read("tiny", version), SigningKey.read(key))
    moved = _json(registry, "rollback", "tiny", "--sign", str(key))
    assert moved == {
        "name": "tiny",
        "alias": "latest",
        "version": 4,
        "previous": 3,
        "copy_of_version": 2,
    }
    assert registry.manifest("tiny", 4).sha256 == registry.manifest("tiny", 2).sha256
    _run(registry, "verify", "tiny", "--trusted-key", f"{key}.pub")
    # Once more is further back, not to what was left.
    assert _json(registry, "rollback", "tiny", "--sign", str(key))["copy_of_version"] == 1
    with pytest.raises(ArtifactRefused, match="no lower complete version"):
        _run(registry, "rollback", "tiny", "--sign", str(key))


def test_a_rollback_without_a_key_says_who_refuses_it(registry: Registry, key: Path) -> None:
    registry.sign(registry.read("tiny", 2), SigningKey.read(key))
    ran = CliRunner().invoke(
        app, ["rollback", "tiny", "--registry", registry.url], catch_exceptions=False
    )
    assert "workers with trusted keys refuse tiny@2" in ran.stderr
    assert registry.resolve("tiny") == 2


def test_promote_publishes_anew_what_workers_would_take_for_older(
    registry: Registry, key: Path
) -> None:
    for version in (1, 2, 3):
        registry.sign(registry.read("tiny", version), SigningKey.read(key))
    moves = ("promote", "tiny@3", "--alias", "prod", "--sign", str(key))
    assert _json(registry, *moves)["version"] == 3
    moves = ("promote", "tiny@2", "--alias", "prod", "--sign", str(key))
    back = _json(registry, *moves)
    assert (back["version"], back["copy_of_version"]) == (4, 2)
    assert registry.aliases("tiny") == {"latest": 3, "prod": 4}


def test_what_is_published_anew_was_signed_by_the_same_key(
    registry: Registry, key: Path, tmp_path: Path
) -> None:
    """Else who may write to the registry waits for a rollback and has theirs signed."""
    registry.sign(registry.read("tiny", 3), SigningKey.read(key))
    for moves in (("rollback", "tiny"), ("promote", "tiny@2", "--alias", "latest")):
        with pytest.raises(ArtifactRefused, match=r"tiny@2 isn't signed|no lower complete"):
            _run(registry, *moves, "--sign", str(key))
    assert registry.versions("tiny") == [1, 2, 3]


def test_a_copy_of_a_copy_goes_back_below_the_first(registry: Registry, key: Path) -> None:
    signs = SigningKey.read(key)
    for version in (1, 2, 3):
        registry.sign(registry.read("tiny", version), signs)
    _run(registry, "rollback", "tiny", "--sign", str(key))  # 4 is 2
    _run(registry, "promote", "tiny@2", "--alias", "latest", "--sign", str(key))  # 5 is 2
    registry.publish(Draft.again(registry.read("tiny", 5)), key=signs)  # 6 is 5 is 2
    assert _json(registry, "rollback", "tiny", "--sign", str(key))["copy_of_version"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "../tiny"),
        ("verify", "tiny@"),
        ("promote", "tiny@1", "--alias", "7"),
        ("rollback", "tiny", "--alias", "a/b"),
    ],
)
def test_wrong_names_are_the_operators_error(
    registry: Registry, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError):
        _run(registry, *arguments)


def test_its_help_imports_neither_torch_nor_opencv() -> None:
    script = (
        "import sys; from pipeline.cli.models import app; "
        "print([name for name in ('torch', 'cv2', 'numpy', 'fsspec') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert ran.stdout.strip() == "[]"


def test_show_and_verify_know_a_versions_other_formats(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = registry.publish(with_onnx(tiny_draft())).formats["onnx"]
    shown = _json(registry, "show", "tiny")
    assert shown["formats"] == {"onnx": {"sha256": file.sha256, "size_bytes": file.size_bytes}}
    assert shown["race"] == []
    table = _run(registry, "show", "tiny", columns=80)
    assert file.sha256 in table
    assert "frames a second" not in table
    assert _json(registry, "verify", "tiny")["backends"] == ["torchscript", "onnxruntime"]
    assert "by torchscript and onnxruntime" in _run(registry, "verify", "tiny")
    assert _json(registry, "verify", "tiny@1")["backends"] == ["torchscript"]


@pytest.mark.parametrize(
    ("content", "says"), [(b"junk", "sha256"), (None, "has no model.onnx"), (b"", "0 bytes")]
)
def test_verify_refuses_another_onnx_file(
    registry: Registry, content: bytes | None, says: str
) -> None:
    size = registry.publish(with_onnx(tiny_draft())).formats["onnx"].size_bytes
    path = Path(registry.url) / "tiny" / "4" / "model.onnx"
    path.unlink()
    if content is not None:
        path.write_bytes(content.ljust(size) if content else content)
    with pytest.raises(ArtifactRefused, match=says):
        _run(registry, "verify", "tiny")


def test_verify_refuses_an_onnx_file_that_counts_otherwise(registry: Registry) -> None:
    registry.publish(with_onnx(tiny_draft(), tiny_onnx_bytes(bias=0.5)))
    with pytest.raises(ArtifactRefused, match="off, expected at most"):
        _run(registry, "verify", "tiny")


def test_show_has_what_a_race_gave_here(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    manifest = registry.publish(with_onnx(tiny_draft()))
    laps = (
        Lap(Runner("torchscript", 1), {1: 0.001, 32: 0.008}),
        Lap(Runner("torchscript", 2), {1: 0.002}),
        Lap(Runner("onnxruntime", 1), {1: 0.0005, 32: 0.004}),
    )
    KeptRaces.usual().keep(manifest, usable_cores(), Raced((1, 32), 3, laps))
    race = _json(registry, "show", "tiny")["race"]
    assert race[2] == {
        "backend": "onnxruntime",
        "threads": 1,
        "batch_ms": {"1": 0.5, "32": 4.0},
        "problem": "",
    }
    lines = _run(registry, "show", "tiny").split("in batches of\n")[1].splitlines()
    assert [line.split() for line in lines] == [
        ["1", "32"],
        ["torchscript,", "1", "thread", "1000", "4000"],
        ["torchscript,", "2", "threads", "500", "-"],
        ["onnxruntime,", "1", "thread", "2000", "8000", "auto", "takes", "it"],
    ]
