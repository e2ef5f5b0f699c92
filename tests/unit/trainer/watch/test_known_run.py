"""What a run's folder tells of its network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.preprocess import PreprocessSpec
from trainer.data import digits
from trainer.fit import Training, fit
from trainer.nets import CnnOptions, NetSettings
from trainer.run_folder import RunFolder
from trainer.served import Normalisation
from trainer.settings import FitSettings
from trainer.watch.known_run import known_run


def test_a_run_is_known_by_its_folder_and_the_next_begins_where_it_was_best(
    tmp_path: Path,
) -> None:
    spec = PreprocessSpec(width=16, height=16, window=(0, 255))
    net_settings = NetSettings(
        cnn=CnnOptions(activation="prelu", batch_norm=True),
        normalisation=Normalisation(mean=(0.1, 0.2, 0.3)),
    )
    settings = FitSettings(
        net="simple-cnn",
        epochs=1,
        batch_size=32,
        optimizer="adam",
        lr=0.002,
        schedule="cosine",
        net_settings=net_settings,
    )
    data = digits(spec, 128)
    fit(data, settings, RunFolder(tmp_path / "run"))
    known = known_run(tmp_path / "run", epochs=3, seed=7)
    assert (known.spec, known.labels) == (spec, data.labels)
    assert (known.settings.net, known.settings.optimizer) == ("simple-cnn", "adam")
    assert (known.settings.lr, known.settings.batch_size) == (0.002, 32)
    assert (known.settings.epochs, known.settings.seed, known.settings.schedule) == (
        *(3, 7, "constant"),
    )
    assert known.settings.net_settings.cnn == net_settings.cnn
    assert known.settings.net_settings.normalisation == net_settings.normalisation

    best = torch.load(tmp_path / "run" / "best.pt", weights_only=True)
    begun = Training(data, known.settings).network.state_dict()
    assert best.keys() == begun.keys()
    assert all(torch.equal(begun[name], best[name]) for name in best)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "can't be read .No such file or directory.: give the folder of a run"),
        ("{", "isn't JSON"),
        ("[]", "isn't of a run of `headrace train`"),
        (json.dumps({"preprocess": {"width": 9}, "labels": ["a"]}), "isn't of a run"),
    ],
)
def test_another_folder_is_explained(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(ConfigError, match=says):
        known_run(tmp_path)
