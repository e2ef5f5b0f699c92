from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.errors import ConfigError, HeadraceError
from pipeline.preprocess import PreprocessSpec, load_sample
from tests.support import noise_jpeg
from trainer.data import Samples
from trainer.image_files import ImageFile, ImageFilesData
from trainer.image_folder import heldout_folder, image_folder

SPEC = PreprocessSpec(width=16, height=12)


def write_pictures(folder: Path, count: int, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(noise_jpeg(seed=seed + number))


def keys(samples: Samples) -> set[str]:
    assert isinstance(samples, ImageFilesData)
    return {file.key for file in samples.files}


def test_classes_are_the_sorted_folders_and_samples_the_workers(tmp_path: Path):
    write_pictures(tmp_path / "dog", 12)
    write_pictures(tmp_path / "cat", 12, seed=50)
    data, skipped = image_folder(tmp_path, SPEC)
    assert data.labels == ("cat", "dog")
    assert not skipped
    assert len(data.train) + len(data.heldout) == 24
    sample_hwc, class_id = data.train[0]
    first = tmp_path / min(keys(data.train))
    assert class_id == 0
    assert (sample_hwc.numpy() == load_sample(first.read_bytes(), SPEC)).all()


def test_a_picture_stays_in_its_part_when_others_come(tmp_path: Path):
    write_pictures(tmp_path / "a", 15)
    write_pictures(tmp_path / "b", 15)
    before, _ = image_folder(tmp_path, SPEC)
    write_pictures(tmp_path / "b", 40)
    after, _ = image_folder(tmp_path, SPEC)
    assert keys(before.train) <= keys(after.train)
    assert keys(before.heldout) <= keys(after.heldout)
    assert not keys(after.train) & keys(after.heldout)
    assert before.digest != after.digest


def test_train_and_val_folders_are_the_parts(tmp_path: Path):
    for label in ("a", "b"):
        write_pictures(tmp_path / "train" / label, 3)
        write_pictures(tmp_path / "val" / label, 2)
    data, _ = image_folder(tmp_path, SPEC)
    assert (len(data.train), len(data.heldout)) == (6, 4)


def test_a_class_that_only_val_has_is_refused(tmp_path: Path):
    for label in ("a", "b"):
        write_pictures(tmp_path / "train" / label, 1)
    write_pictures(tmp_path / "val" / "c", 1)
    write_pictures(tmp_path / "val" / "a", 1)
    with pytest.raises(ConfigError, match=r"train lacks: c"):
        image_folder(tmp_path, SPEC)


def test_a_broken_picture_is_reported_and_the_others_are_learnt_from(tmp_path: Path):
    write_pictures(tmp_path / "a", 12)
    write_pictures(tmp_path / "b", 12)
    (tmp_path / "a" / "broken.jpg").write_bytes(noise_jpeg()[:300])
    (tmp_path / "b" / "notes.txt").write_text("not a picture")
    (tmp_path / "b" / ".hidden").write_text("a desktop's own file")
    data, skipped = image_folder(tmp_path, SPEC)
    assert len(data.train) + len(data.heldout) == 24
    assert {each.path.name: each.reason.partition(":")[0] for each in skipped} == {
        "broken.jpg": "corrupt",
        "notes.txt": "unsupported_type",
    }


def test_what_cannot_be_learnt_from_is_refused_with_the_layout(tmp_path: Path):
    with pytest.raises(ConfigError, match="is no folder"):
        image_folder(tmp_path / "nowhere", SPEC)
    with pytest.raises(ConfigError, match=r"0 class folders.*PATH/cat/1.jpg"):
        image_folder(tmp_path, SPEC)
    write_pictures(tmp_path / "a", 12)
    with pytest.raises(ConfigError, match="1 class folders"):
        image_folder(tmp_path, SPEC)
    (tmp_path / "b").mkdir()
    with pytest.raises(ConfigError, match="no picture to learn b from"):
        image_folder(tmp_path, SPEC)
    (tmp_path / "b" / "1.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"1 files were skipped, first .*1\.jpg"):
        image_folder(tmp_path, SPEC)


def test_a_set_too_large_for_memory_is_decoded_when_asked_for(tmp_path: Path):
    write_pictures(tmp_path, 3)
    files = [ImageFile(path, path.name, 0) for path in sorted(tmp_path.iterdir())]
    kept = ImageFilesData(files, ("a",), SPEC)
    anew = ImageFilesData(files, ("a",), SPEC, cache_bytes=0)
    assert torch.equal(anew[1][0], kept[1][0])
    files[1].path.unlink()
    assert len(anew) == 3
    with pytest.raises(HeadraceError, match=r"1\.jpg could be read at the start"):
        anew[1]


def test_what_is_learnt_from_is_known_by_what_was_read_also_if_files_are_gone(tmp_path: Path):
    write_pictures(tmp_path, 3)
    files = [ImageFile(path, path.name, 0) for path in sorted(tmp_path.iterdir())]
    data = ImageFilesData(files, ("a",), SPEC)
    before = data.digest
    files[1].path.unlink()
    assert data.digest == before
    files[1].path.write_bytes(noise_jpeg(seed=9) + b"more")
    assert ImageFilesData(files, ("a",), SPEC).digest != before


def test_a_file_that_is_gone_before_it_is_decoded_is_skipped(tmp_path: Path):
    write_pictures(tmp_path, 3)
    files = [ImageFile(path, path.name, 0) for path in sorted(tmp_path.iterdir())]
    files[1].path.unlink()
    data = ImageFilesData(files, ("a",), SPEC)
    assert [each.path for each in data.skipped] == [files[1].path]
    assert data.skipped[0].reason == "unreadable: No such file or directory"
    assert keys(data) == {"0.jpg", "2.jpg"}
    assert data.digest == ImageFilesData([files[0], files[2]], ("a",), SPEC).digest


def test_a_network_is_judged_also_by_pictures_of_one_label_alone(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"0 class folders, expected at least 1"):
        heldout_folder(tmp_path, ("cat", "dog"), SPEC)
    write_pictures(tmp_path / "dog", 3)
    samples, skipped = heldout_folder(tmp_path, ("cat", "dog"), SPEC)
    assert not skipped
    assert (samples.labels, samples.targets()) == (("cat", "dog"), [1, 1, 1])


def test_nothing_held_out_is_refused(tmp_path: Path):
    for label in ("a", "b"):
        write_pictures(tmp_path / "train" / label, 1)
        (tmp_path / "val" / label).mkdir(parents=True)
    with pytest.raises(ConfigError, match="none held out"):
        image_folder(tmp_path, SPEC)
