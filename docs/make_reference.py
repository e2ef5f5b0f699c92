"""Writes ``docs/reference`` from the code: ``make reference``; ``--check`` only compares.

python -m docs.make_reference [--check]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from pipeline.cli.app import VERBS, make_app
from pipeline.config import Settings
from pipeline.histogram import Histogram
from pipeline.metrics import MAX_STREAM_LABELS, FrameCounts, Metrics
from pipeline.settings import OPTIONS, OTHER_VARIABLES, section_of, variable_of
from pipeline.types import (
    Frame,
    ModelIdentity,
    Position,
    Prediction,
    Rejected,
    RejectReason,
    Scored,
    Shed,
    ShedReason,
    Timings,
)
from pipeline.wire import encode_row

FOLDER = Path(__file__).parent / "reference"
MADE = "<!-- Made from the code by `make reference`; changes belong there. -->\n\n"


def pages() -> dict[str, str]:
    """Every page by its file's name, as it should be."""
    makers: dict[str, Callable[[], Iterator[str]]] = {
        "cli.md": _cli,
        "settings.md": _settings,
        "metrics.md": _metrics,
        "result.md": _result,
    }
    return {name: MADE + "\n".join(make()).rstrip() + "\n" for name, make in makers.items()}


def stale(folder: Path = FOLDER) -> list[str]:
    """The names of pages that aren't what the code says now."""
    return [
        name
        for name, text in pages().items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: Sequence[str], folder: Path = FOLDER) -> int:
    """Writes the pages, or with ``--check`` names those that are stale. Gives the exit code."""
    old = stale(folder)
    if "--check" in arguments:
        for name in old:
            print(f"docs/reference/{name} is stale: run `make reference`", file=sys.stderr)
        return 1 if old else 0
    folder.mkdir(exist_ok=True)
    made = pages()
    for name in old:
        (folder / name).write_text(made[name], encoding="utf-8")
        print(f"wrote docs/reference/{name}")
    return 0


def _cli() -> Iterator[str]:
    yield "# Command line\n"
    yield "`headrace`, or `python -m pipeline`. Results go to standard output, logs to standard"
    yield "error; `--json` is for programs. Exit codes: 0 done, 1 failed, 2 wrong use or settings,"
    yield "75 start me again (a process that can't be healed in place), 130 Ctrl-C in any verb but"
    yield "`worker`, `demo`, `feed` and `replay`, which drain and end with 0.\n"
    root = typer.main.get_command(make_app())
    yield from _command(root, "headrace", 2)
    yield from _table(
        ("verb", "does"), ((f"[`{v.name}`](#headrace-{v.name})", v.help) for v in VERBS)
    )
    for verb in VERBS:
        yield from _command(verb.load(), f"headrace {verb.name}", 2)


def _command(command: Any, path: str, level: int) -> Iterator[str]:
    context = typer.Context(command, info_name=path)
    yield f"{'#' * level} {path}\n"
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n"
    yield (command.help or "").strip() + "\n"
    rows = [record for each in command.get_params(context) if (record := _option(each, context))]
    yield from _table(("option", "means"), rows)
    for name, inner in getattr(command, "commands", {}).items():
        if path != "headrace":
            yield from _command(inner, f"{path} {name}", level + 1)


def _option(parameter: Any, context: typer.Context) -> tuple[str, str] | None:
    record = parameter.get_help_record(context)
    if record is None or "--help" in record[0]:
        return None
    return f"`{record[0]}`", " ".join(record[1].split())


def _settings() -> Iterator[str]:
    yield "# Settings\n"
    yield "The first that says something wins: option, then variable, then file, then default."
    yield "`headrace config` shows the effective settings and where each came from."
    yield "An unknown key or variable is refused.\n"
    yield "- **File**: TOML, read only if it is named with `-c FILE` or `HEADRACE_CONFIG`;"
    yield "  a `headrace.toml` that merely lies in the folder is not. Paths in it are relative to"
    yield "  the folder that `headrace` is started in."
    yield "- **Variables**: `HEADRACE_`, then the key in capitals with `__` for the dot:"
    yield f"  `batch.max_size` is `{variable_of('batch.max_size')}`. Several URLs are a JSON array."
    yield "- Names that end in `_s` are seconds, in `_bytes` bytes.\n"
    yield "```toml"
    yield 'sources = ["clip.mp4"]\nsinks = ["jsonl:results.jsonl"]\n'
    yield '[model]\nname = "digits"\n\n[batch]\nmax_size = 16\nmax_wait_s = 0.01'
    yield "```\n"
    top = {name: each for name, each in Settings.model_fields.items() if section_of(each) is None}
    yield "## Top level\n"
    yield from _fields(top, "")
    for name, field in Settings.model_fields.items():
        section = section_of(field)
        if section is not None:
            yield f"## [{name}]\n"
            yield f"{_first_paragraph(section)}\n"
            yield from _fields(section.model_fields, f"{name}.")
    yield "## Variables that are no settings\n"
    yield from _table(
        ("variable", "is"),
        [
            *((f"`{name}`", text) for name, text in OTHER_VARIABLES.items()),
            ("`HEADRACE_TEST_…`", "the tests'"),
            (
                "`HEADRACE_SERVICE_…`, `HEADRACE_PORT=tcp://…`, `HEADRACE_PORT_…`",
                "what Kubernetes sets for a Service named `headrace` or `headrace-…`: left alone",
            ),
        ],
    )


def _fields(fields: dict[str, FieldInfo], prefix: str) -> Iterator[str]:
    yield from _table(
        ("setting", "default", "option", "means"),
        (
            (
                f"`{prefix}{name}`",
                f"`{_toml(field.default)}`",
                f"`{OPTIONS[prefix + name]}`" if prefix + name in OPTIONS else "",
                f"{field.description}{_limits(field)}",
            )
            for name, field in fields.items()
        ),
    )


def _toml(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _limits(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return f" ({', '.join(filter(None, get_args(field.annotation)))})"
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [
        f"{text} {getattr(limit, sign):g}"
        for limit in field.metadata
        for sign, text in signs.items()
        if hasattr(limit, sign)
    ]
    return f" ({', '.join(found)})" if found else ""


def _first_paragraph(section: type[BaseModel]) -> str:
    return " ".join((section.__doc__ or "").split("\n\n")[0].split())


def _metrics() -> Iterator[str]:
    yield "# Metrics\n"
    yield "At `/metrics`, for Prometheus. At every scrape, over all streams,"
    yield "`received = scored + shed + rejected + in_flight`. Ages and durations are seconds."
    yield f"Streams beyond the first {MAX_STREAM_LABELS} are counted as `other`.\n"
    metrics = Metrics()
    metrics.watch_frames(
        lambda: FrameCounts({"s": 1}, {"s": 1}, {("s", "r"): 1}, {("s", "r"): 1}, 0)
    )
    # prometheus_client tells a metric's labels only once it has values, or in this attribute.
    groups = (metrics, metrics.consumer, metrics.trials)
    made = [each for group in groups for each in vars(group).values()]
    labels = {each._name: each._labelnames for each in made if hasattr(each, "_labelnames")}
    labels |= {each.name: each.labels for each in made if isinstance(each, Histogram)}
    rows = []
    for family in metrics.registry.collect():
        names = labels.get(family.name) or tuple(
            family.samples[0].labels if family.type in ("counter", "gauge") else ()
        )
        suffix = "_total" if family.type == "counter" else ""
        shown = f"{{{','.join(names)}}}" if names else ""
        rows.append((f"`{family.name}{suffix}{shown}`", family.type, family.documentation))
    yield from _table(("metric", "type", "means"), sorted(rows))


def _result() -> Iterator[str]:
    schema = json.loads(files("pipeline.schema").joinpath("result.schema.json").read_text("utf-8"))
    yield "# A result\n"
    yield f"One line of JSON for each frame. Its schema is `{schema['title']}`, kept in the package"
    yield "as `pipeline/schema/result.schema.json`; every row has every field but `values`, and"
    yield "`source.file` where there is no file.\n"
    yield from _table(("field", "type", "is"), _schema_rows(schema, schema, ""))
    yield f"A frame is shed as {_choices(ShedReason)};"
    yield f"it is rejected as {_choices(RejectReason)}.\n"
    for name, outcome in _EXAMPLES.items():
        yield f"## {name}\n"
        yield f"```json\n{json.dumps(json.loads(encode_row(outcome)), indent=1)}\n```\n"


def _choices(alias: Any) -> str:
    return ", ".join(f"`{value}`" for value in get_args(alias))


def _schema_rows(
    node: dict[str, Any], schema: dict[str, Any], prefix: str
) -> Iterator[tuple[str, str, str]]:
    for name, raw in node["properties"].items():
        each = {**schema["$defs"].get(raw.get("$ref", "").rpartition("/")[2], {}), **raw}
        if "const" in each:
            kind = f"`{json.dumps(each['const'])}`"
        elif "enum" in each:
            kind = ", ".join(f"`{json.dumps(value)}`" for value in each["enum"])
        else:
            kind = each["type"] if isinstance(each["type"], str) else " or ".join(each["type"])
        yield f"`{prefix}{name}`", kind, each.get("description", "")
        if "properties" in each:
            yield from _schema_rows(each, schema, f"{prefix}{name}.")
        elif "properties" in each.get("items", {}):
            yield from _schema_rows(each["items"], schema, f"{prefix}{name}[].")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    made = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    if made:
        yield f"| {' | '.join(columns)} |"
        yield f"|{' --- |' * len(columns)}"
        yield from (f"| {row} |" for row in made)
        yield ""


_FRAME = Frame(
    position=Position("clip.mp4", 0, 41),
    stream="clip.mp4",
    payload=b"",
    captured_at=1_767_225_600.25,
    received_mono_s=0.0,
)
_EXAMPLES = {
    "A score": Scored(
        frame=_FRAME,
        model=ModelIdentity("digits", 3, "5f" * 32, 2),
        predictions=(Prediction("seven", 7, 0.91), Prediction("one", 1, 0.06)),
        scored_at=_FRAME.captured_at + 0.0125,
        width=640,
        height=360,
        timings=Timings(0.0005, 0.0042, 0.0018, 0.0031),
    ),
    "A score of a regression": Scored(
        frame=_FRAME,
        model=ModelIdentity("steering", 1, "a7" * 32, 1),
        predictions=(),
        scored_at=_FRAME.captured_at + 0.0125,
        width=640,
        height=360,
        timings=Timings(0.0005, 0.0042, 0.0018, 0.0031),
        task="regression",
        values={"angle": -0.125, "speed": 12.5},
    ),
    "A frame that was shed": Shed(_FRAME, "superseded", _FRAME.captured_at + 0.04),
    "A frame that was rejected": Rejected(
        _FRAME, "corrupt", "the jpeg can't be decoded", _FRAME.captured_at + 0.003
    ),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
