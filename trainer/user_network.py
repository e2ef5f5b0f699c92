"""A network of the user's own: a TorchScript file, or a factory with a state_dict."""

from __future__ import annotations

import importlib
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from pipeline.engine.device import reason_of
from pipeline.errors import ConfigError
from trainer.checkpoint import load_tensors
from trainer.torchscript import NETWORK_ERRORS, load_torchscript

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_NESTED_KEYS = ("state_dict", "model_state_dict", "model", "network")
"""Where training loops keep the state_dict in a larger checkpoint."""

_SHOWN = 5


def load_network(file: str, weights: Path | None) -> nn.Module:
    """Loads what `headrace publish` was given, on the CPU and in evaluation mode.

    A TorchScript file is a program, and a factory is code: give only what you would run.

    Args:
        file: A TorchScript file, or ``module:factory``, importable from the current directory,
            whose call without arguments gives the network.
        weights: A state_dict for the factory's network.

    Raises:
        ConfigError: it isn't there, isn't such a thing, or the weights don't fit.
    """
    path = Path(file)
    if path.is_file():
        if weights is not None:
            raise ConfigError(
                f"{file} is a file that holds its weights; --weights goes with module:factory"
            )
        return _load_torchscript(path).eval()
    if not is_factory(file):
        raise ConfigError(f"{file} isn't there. Give a TorchScript file or module:factory.")
    found = find_factory(file)
    network = found if isinstance(found, nn.Module) else call_factory(file, found)
    network = network.cpu().float()
    if weights is not None:
        load_weights(network, load_tensors(weights), str(weights))
    return network.eval()


def _load_torchscript(path: Path) -> nn.Module:
    problem = _not_torchscript(path)
    if problem is not None:
        raise ConfigError(
            f"{path} isn't a TorchScript file: {problem}. Make one with"
            " torch.jit.script(network).save(path); for a state_dict, give module:factory with"
            f" --weights {path}."
        )
    try:
        return load_torchscript(path.read_bytes())  # torch takes UTF-8 paths alone
    except (RuntimeError, ValueError, OSError) as cause:
        first_line = str(cause).strip().partition("\n")[0]
        raise ConfigError(
            f"{path} can't be loaded: {first_line}; was it saved whole, by this torch or an older"
            " one?"
        ) from cause


def _not_torchscript(path: Path) -> str | None:
    """Why a file can't be one, or None: torch's own words for it are about its archive reader."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except OSError as cause:
        return f"it can't be read ({cause.strerror})"
    except zipfile.BadZipFile:
        return "it's no zip archive, or not all of one"
    if any("/code/" in name for name in names):
        return None
    if any(name.endswith("data.pkl") for name in names):
        return "torch.save made it; it holds tensors or pickled Python, and no program"
    return "it's another kind of zip archive"


def is_factory(name: str) -> bool:
    """Whether it is written as ``module:factory``."""
    return _FACTORY.fullmatch(name) is not None


def find_factory(name: str) -> Any:
    """Imports ``module:factory``'s module, from the current directory too, and gives the factory.

    Raises:
        ConfigError: the module can't be imported, or has no such name.
    """
    module_name, _, attribute = name.partition(":")
    # The console script doesn't put the current directory on the path as `python -m` does.
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except (ImportError, SyntaxError, NameError, ArithmeticError, *NETWORK_ERRORS) as cause:
        raise ConfigError(
            f"the module {module_name!r} can't be imported: {reason_of(cause)}."
            f" It is looked for in {Path.cwd()} and where Python looks."
        ) from cause
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{module_name} has no {attribute!r}. Give module:factory.")
        found = getattr(found, part)
    return found


def call_factory(name: str, factory: Any, **arguments: Any) -> nn.Module:
    """Calls what ``find_factory`` found.

    Raises:
        ConfigError: it fails, or gives no network.
    """
    called = f"{name}({', '.join(f'{key}={value}' for key, value in arguments.items())})"
    try:
        network = factory(**arguments)
    except (*NETWORK_ERRORS, ImportError, NameError, ArithmeticError) as cause:
        remedy = "" if arguments else " It must give the network when called without arguments."
        raise ConfigError(f"{called} failed: {reason_of(cause)}.{remedy}") from cause
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{called} gives a {type(network).__name__}, expected a torch.nn.Module")
    return network


def load_weights(network: nn.Module, content: dict[str, Any], source: str) -> None:
    """Fills ``network`` from a state_dict, also one within a checkpoint or of a DataParallel.

    Raises:
        ConfigError: keys or shapes differ; says which.
    """
    state = state_dict_in(content)
    wanted = network.state_dict()
    problems = [
        _listed("missing", wanted.keys() - state.keys()),
        _listed("not of this network", state.keys() - wanted.keys()),
        _listed("of another shape", _misshapen(wanted, state)),
    ]
    if any(problems):
        raise ConfigError(
            f"the weights in {source} don't fit the network: {'; '.join(filter(None, problems))}."
            " Give the state_dict of this very network."
        )
    network.load_state_dict(state)


def state_dict_in(content: dict[str, Any]) -> dict[str, Any]:
    """The state_dict itself, of a file that may hold more, under the network's own names."""
    state = next(
        (content[key] for key in _NESTED_KEYS if isinstance(content.get(key), dict)), content
    )
    consume_prefix_in_state_dict_if_present(state, "module.")
    return state


def _misshapen(wanted: dict[str, Any], state: dict[str, Any]) -> set[str]:
    def shape(value: object) -> list[int] | None:
        return list(value.shape) if isinstance(value, Tensor) else None

    return {
        f"{key} ({shape(state[key])}, expected {shape(wanted[key])})"
        for key in wanted.keys() & state.keys()
        if shape(state[key]) != shape(wanted[key])
    }


def _listed(what: str, keys: set[str]) -> str:
    if not keys:
        return ""
    return f"{what}: {shortened(sorted(keys))}"


def shortened(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
