from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.preprocess import PreprocessSpec, load_sample
from tests.support import noise_jpeg
from trainer.data import Samples, SplitData
from trainer.image_files import ImageFilesData, is_held_out
from trainer.image_table import image_table
from trainer.table import open_table

SPEC = PreprocessSpec(width=16, height=12)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With 24 pictures ``p/0.jpg`` to ``p/23.jpg``."""
    (tmp_path / "p").mkdir()
    for number in range(24):
        (tmp_path / "p" / f"{number}.jpg").write_bytes(noise_jpeg(seed=number))
    return tmp_path


def write_csv(folder: Path, *lines: str) -> Path:
    table = folder / "photos.csv"
    table.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return table


def write_parquet(folder: Path, columns: dict[str, Sequence[Any]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = folder / "photos.parquet"
    parquet.write_table(pyarrow.table(columns), table)
    return table


def by_key(samples: Samples) -> dict[str, Any]:
    assert isinstance(samples, ImageFilesData)
    return {file.key: file.target for file in samples.files}


def everything(data: SplitData) -> dict[str, Any]:
    return by_key(data.train) | by_key(data.heldout)


def cats_and_dogs(_folder: Path) -> list[str]:
    return [f"p/{n}.jpg,{'cat' if n % 2 else 'dog'}" for n in range(24)]


def test_classes_are_the_sorted_labels_and_samples_the_workers(folder: Path):
    data, skipped = image_table(write_csv(folder, "path,label", *cats_and_dogs(folder)), SPEC)
    assert (data.task, data.labels, skipped) == ("single-label", ("cat", "dog"), ())
    assert everything(data) == {f"p/{n}.jpg": 1 - n % 2 for n in range(24)}
    assert all(is_held_out(key) for key in by_key(data.heldout))
    assert not any(is_held_out(key) for key in by_key(data.train))
    sample_hwc, target = data.train[0]
    first = folder / next(iter(by_key(data.train)))
    assert target == data.train.targets()[0]
    assert (sample_hwc.numpy() == load_sample(first.read_bytes(), SPEC)).all()


def test_all_that_a_picture_shows_is_a_row_of_zeros_and_ones(folder: Path):
    rows = [f"p/{n}.jpg,{['', 'sun', ' sea | sun|', 'sea|sea'][n % 4]}" for n in range(24)]
    data, _ = image_table(write_csv(folder, "path,labels", *rows), SPEC)
    assert (data.task, data.labels) == ("multi-label", ("sea", "sun"))
    expected = [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)]
    assert everything(data) == {f"p/{n}.jpg": expected[n % 4] for n in range(24)}
    _, target = data.train[0]
    assert isinstance(target, torch.Tensor)
    assert (target.dtype, target.shape) == (torch.float32, (2,))


def test_columns_of_numbers_are_what_a_regression_learns(folder: Path):
    rows = [f"p/{n}.jpg,cat,{n},{n / 8}" for n in range(24)]
    table = write_csv(folder, "path,label,wide,high", *rows)
    data, _ = image_table(table, SPEC, ("high", "wide"))
    assert (data.task, data.labels) == ("regression", ("high", "wide"))
    assert everything(data)["p/5.jpg"] == (0.625, 5.0)
    assert image_table(table, SPEC, ("wide", "high"))[0].digest != data.digest
    with pytest.raises(ConfigError, match="1 labels, expected at least 2"):
        image_table(table, SPEC)


def test_the_split_column_decides_the_parts(folder: Path):
    rows = [
        f"p/{n}.jpg,{'cat' if n % 2 else 'dog'},{['train', 'heldout', 'val'][n // 2 % 3]}"
        for n in range(24)
    ]
    data, _ = image_table(write_csv(folder, "path,label,split", *rows), SPEC)
    assert by_key(data.train).keys() == {f"p/{n}.jpg" for n in range(24) if n // 2 % 3 == 0}
    assert len(data.heldout) == 16


def test_parquet_gives_the_data_that_csv_gives(folder: Path):
    paths = [f"p/{n}.jpg" for n in range(24)]
    labels = ["cat" if n % 2 else "dog" for n in range(24)]
    parquet = write_parquet(folder, {"path": paths, "label": labels, "more": [b"x"] * 24})
    csv, _ = image_table(write_csv(folder, "path,label", *cats_and_dogs(folder)), SPEC)
    data, _ = image_table(parquet, SPEC)
    assert (data.labels, data.digest) == (csv.labels, csv.digest)

    lists = [["sun"] if n % 2 else ["sea", "sun"] if n % 3 else [] for n in range(24)]
    data, _ = image_table(write_parquet(folder, {"path": paths, "labels": lists}), SPEC)
    assert (data.task, everything(data)["p/2.jpg"]) == ("multi-label", (1.0, 1.0))
    heights = write_parquet(folder, {"path": paths, "high": [n / 2 for n in range(24)]})
    data, _ = image_table(heights, SPEC, ("high",))
    assert everything(data)["p/3.jpg"] == (1.5,)
    missing = write_parquet(folder, {"path": paths, "high": [None, *range(23)]})
    with pytest.raises(ConfigError, match=r"photos\.parquet, row 1: high is None"):
        image_table(missing, SPEC, ("high",))


def test_excels_utf8_quotes_and_line_ends_are_read(folder: Path):
    (folder / "p" / "a, b.jpg").write_bytes(noise_jpeg(seed=99))
    table = folder / "photos.CSV"
    lines = ["path,label", *cats_and_dogs(folder), "", '"p/a, b.jpg","gro""ße, Katze"', ""]
    table.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    data, _ = image_table(table, SPEC)
    assert data.labels == ("cat", "dog", 'gro"ße, Katze')
    assert by_key(data.train)["p/a, b.jpg"] == 2


def test_broken_missing_and_repeated_pictures_are_reported_and_the_others_learnt_from(
    folder: Path,
):
    (folder / "p" / "broken.jpg").write_bytes(noise_jpeg()[:300])
    (folder / "p" / "folder.jpg").mkdir()
    os.mkfifo(folder / "p" / "pipe.jpg")
    extra = [f"p/{name}.jpg,cat" for name in ("broken", "folder", "pipe", "gone", "1")]
    long = f"p/{'x' * 300}.jpg,cat"
    table = write_csv(folder, "path,label", *cats_and_dogs(folder), *extra, long)
    data, skipped = image_table(table, SPEC)
    assert len(data.train) + len(data.heldout) == 24
    assert {each.path.name[:10]: each.reason.partition("(")[0] for each in skipped} == {
        "1.jpg": "named twice, in line 3 and line 30",
        "broken.jpg": "corrupt: the jpeg can't be decoded ",
        "folder.jpg": "unreadable: no file",
        "pipe.jpg": "unreadable: no file",
        "gone.jpg": "unreadable: No such file or directory",
        "x" * 10: "unreadable: File name too long",
    }


def test_a_table_of_nothing_but_broken_pictures_is_refused(folder: Path):
    rows = [f"gone/{n}.jpg,{n % 2},{n}" for n in range(24)]
    table = write_csv(folder, "path,label,high", *rows)
    with pytest.raises(ConfigError, match=r"no picture to learn 0, 1 from \(24 files were skipped"):
        image_table(table, SPEC)
    with pytest.raises(ConfigError, match=r"no picture to learn from \(24 files were skipped"):
        image_table(table, SPEC, ("high",))


def test_the_digest_is_of_paths_targets_and_contents(folder: Path):
    def digest(*lines: str) -> str:
        return image_table(write_csv(folder, "path,label", *lines), SPEC)[0].digest

    rows = cats_and_dogs(folder)
    assert digest(*rows) == digest(*(row.replace(",", ",  ") for row in rows))
    assert digest(*rows) != digest(*rows[1:])
    assert digest(*rows) != digest("p/0.jpg,cat", *rows[1:])
    before = digest(*rows)
    (folder / "p" / "0.jpg").write_bytes(noise_jpeg(width=80))
    assert digest(*rows) != before


LINES = ("path,label", "p/1.jpg,cat")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((), "is empty, expected a line"),
        (("path,label",), "0 pictures of 0 labels"),
        (("path;label", "p/1.jpg;cat"), r"no column 'path'; it has path;label\. .* with commas"),
        (("path", "p/1.jpg"), "no column label and labels"),
        (("path,label,labels", "p/1.jpg,a,b"), "both columns label and labels"),
        (("path,label,path", "p/1.jpg,a,b"), "more than one column 'path'"),
        ((*LINES, "p/2.jpg"), r"line 3 has 1 cells, expected 2"),
        ((*LINES, "p/2, 3.jpg,dog"), r"line 3 has 3 cells, expected 2.*double quotes"),
        ((*LINES, '"p/2.jpg,dog', "p/3.jpg,dog"), "isn't CSV: .*quote left open"),
        ((*LINES, "p/2.jpg,"), "line 3: label is empty"),
        ((*LINES, ",dog"), "line 3: path is '', expected that of a picture"),
        ((*LINES, "p/\0.jpg,dog"), "line 3: path is 'p/.x00"),
        ((*LINES, "../p/2.jpg,dog"), r"line 3: path is '\.\./p/2\.jpg', which leaves"),
        ((*LINES, "p/x/../../../2.jpg,dog"), "which leaves the table's folder"),
        ((*LINES, "/etc/passwd,dog"), "which leaves the table's folder"),
        ((*LINES, "./p//1.jpg,dog"), r"line 3: p/1\.jpg is already in line 2, as something else"),
        (("path,label,split", "p/1.jpg,a,test"), r"split of p/1\.jpg is 'test', expected train or"),
        ((*LINES, "p/2.jpg," + "x" * 200_000), "line 3 isn't CSV: field larger"),
    ],
)
def test_a_table_that_cannot_be_meant_so_is_refused_with_the_place(
    folder: Path, lines: tuple[str, ...], says: str
):
    with pytest.raises(ConfigError, match=says):
        image_table(write_csv(folder, *lines), SPEC)


@pytest.mark.parametrize(
    ("cell", "targets", "says"),
    [
        ("tall", ("high",), "line 2: high is 'tall', expected a finite number"),
        ("nan", ("high",), "line 2: high is 'nan'"),
        ("", ("high",), "line 2: high is ''"),
        ("1e300", ("high",), r"line 2: high is '1e300', expected a number from -1e\+18 to 1e\+18"),
        ("-1e25", ("high",), "line 2: high is '-1e25', .* in float32"),
        ("1", ("wide",), "no column 'wide'; it has path, high"),
        ("1", ("high", "high"), "expected different columns"),
        ("1", ("path",), "expected different columns"),
    ],
)
def test_a_number_that_is_none_is_refused(
    folder: Path, cell: str, targets: tuple[str, ...], says: str
):
    with pytest.raises(ConfigError, match=says):
        image_table(write_csv(folder, "path,high", f"p/1.jpg,{cell}"), SPEC, targets)


@pytest.mark.parametrize(
    ("column", "cells", "says"),
    [
        ("label", [1.0, float("nan")], "row 2: label is nan, expected a class"),
        ("label", [["a"], ["b"]], r"row 1: label is \['a'\], expected a class as text or a number"),
        ("label", [{"a": 1}, {"a": 2}], "row 1: label is {'a': 1}, expected a class"),
        ("label", [b"a", b"b"], "row 1: label is b'a', expected a class"),
        ("labels", [[["a"]], [["b"]]], r"row 1: labels has \['a'\], expected labels as text"),
        ("labels", [[1.0], [float("nan")]], "row 2: labels has nan, expected labels"),
        ("labels", [float("nan"), 1.0], "row 1: labels has nan, expected labels"),
        ("split", [["train"], ["heldout"]], r"row 1: split of p/0.jpg is \['train'\], expected tr"),
        ("path", [["p/0.jpg"], ["p/1.jpg"]], r"row 1: path is \['p/0.jpg'\], expected that of"),
        ("high", [[1.0], [2.0]], r"row 1: high is \[1.0\], expected a finite number"),
    ],
)
def test_a_cell_of_parquet_that_cannot_be_meant_so_is_refused_with_its_row(
    folder: Path, column: str, cells: Sequence[Any], says: str
):
    plain = {"path": ["p/0.jpg", "p/1.jpg"], "label": ["cat", "dog"]}
    if column == "labels":
        del plain["label"]
    table = write_parquet(folder, {**plain, column: cells})
    with pytest.raises(ConfigError, match=says):
        image_table(table, SPEC, ("high",) if column == "high" else ())


def test_labels_may_be_numbers(folder: Path):
    columns = {"path": [f"p/{n}.jpg" for n in range(24)], "label": [n % 2 for n in range(24)]}
    assert image_table(write_parquet(folder, columns), SPEC)[0].labels == ("0", "1")


def test_a_file_that_is_no_table_is_named(folder: Path):
    with pytest.raises(ConfigError, match=r"none\.csv can't be read: No such file"):
        image_table(folder / "none.csv", SPEC)
    table = folder / "photos.csv"
    table.write_bytes("path,label\np/1.jpg,Käse\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="isn't UTF-8 text"):
        image_table(table, SPEC)
    table.write_bytes("path,label\n".encode("utf-16"))
    with pytest.raises(ConfigError, match="isn't UTF-8 text"):
        image_table(table, SPEC)


def test_a_parquet_file_that_is_none_is_named(folder: Path):
    pytest.importorskip("pyarrow")
    with pytest.raises(ConfigError, match=r"none\.parquet can't be read"):
        open_table(folder / "none.parquet")
    whole = write_parquet(folder, {"path": ["p/1.jpg"] * 9, "label": list("abcabcabc")})
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="can't be read as Parquet"):
        open_table(whole)


def test_without_pyarrow_parquet_says_how_to_get_it(tmp_path: Path):
    """In a process of its own, where the package can't be found."""
    (tmp_path / "photos.parquet").write_bytes(b"PAR1")
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\nfrom trainer.table import open_table\n"
        "open_table(Path('photos.parquet'))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "python -m pip install 'headrace[parquet]'" in ran.stderr


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_any_text_comes_back_from_csv(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
):
    import csv

    table = tmp_path_factory.getbasetemp() / "any.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("a", "b"), *cells])
    rows = [tuple(row.cells.values()) for row in open_table(table).rows(["a", "b"])]
    assert rows == [(a.strip(), b.strip()) for a, b in cells]


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_memory_does_not_hold_the_columns_that_nobody_asked_for(
    folder: Path, write: Callable[..., Path]
):
    if write is write_csv:
        table = write(folder, "path,label,more", "p/1.jpg,cat,x")
    else:
        table = write(folder, {"path": ["p/1.jpg"], "label": ["cat"], "more": ["x"]})
    (row,) = open_table(table).rows(["label"])
    assert dict(row.cells) == {"label": "cat"}
