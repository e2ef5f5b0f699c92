"""``config.pbtxt``: lets NVIDIA Triton serve a registry's folder as it stands.

Triton reads ``<model>/config.pbtxt``, one for all versions (the numbered folders, each with its
``model.pt``). An artifact must be whole by itself too, when one version is copied elsewhere. So
it is written twice: into the version, and, at each publish, atomically into the model's folder.
"""

from __future__ import annotations

import json

from pipeline.artifact.manifest import Contract

MAX_BATCH_SIZE = 32
"""The worker's own default; the network itself takes any number."""


def config_pbtxt(name: str, contract: Contract) -> str:
    """The text of ``config.pbtxt`` for a TorchScript model that keeps ``contract``.

    The outputs' names are in ``parameters``, as a JSON list: Triton's own ``label_filename`` would
    need one more file that no digest covers. So is the task, as the outputs are without activation.
    """
    height, width, channels = contract.preprocess.sample_shape_hwc
    labels = _quoted(json.dumps(list(contract.labels), ensure_ascii=False))
    return f"""\
name: {_quoted(name)}
backend: "pytorch"
platform: "pytorch_libtorch"
max_batch_size: {MAX_BATCH_SIZE}
input [
  {{
    name: "INPUT__0"
    data_type: TYPE_UINT8
    dims: [ {height}, {width}, {channels} ]
  }}
]
output [
  {{
    name: "OUTPUT__0"
    data_type: TYPE_FP32
    dims: [ {len(contract.labels)} ]
  }}
]
dynamic_batching {{ }}
parameters: {{
  key: "labels"
  value: {{ string_value: {labels} }}
}}
parameters: {{
  key: "task"
  value: {{ string_value: "{contract.task}" }}
}}
parameters: {{
  key: "preprocess_sha256"
  value: {{ string_value: "{contract.preprocess_sha256}" }}
}}
"""


def _quoted(text: str) -> str:
    """A string of protobuf's text format: JSON's escapes are a subset of it, but for ``\\u``."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
