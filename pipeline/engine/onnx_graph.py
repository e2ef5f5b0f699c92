"""A look at an ONNX file before it is run: it may hold the network and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from pipeline.errors import ArtifactRefused

_ONNX = frozenset(("", "ai.onnx"))


def check_graph(model: bytes) -> None:
    """Checks that all of its tensors are in ``model`` itself, and all its operators are ONNX's own:
    a tensor may else be another file's content, and an operator any code of a library.

    Raises:
        ArtifactRefused: ``corrupt``: it can't be read; ``forbidden``.
    """
    try:
        parsed = ModelProto.FromString(model)
    except DecodeError as cause:
        raise ArtifactRefused(
            "corrupt", f"model.onnx can't be read ({cause}): publish the model again"
        ) from cause
    own = {(each.domain, each.name) for each in parsed.functions}
    for node in _nodes(parsed):
        if node.domain not in _ONNX and (node.domain, node.op_type) not in own:
            raise _forbidden(f"calls {node.domain}::{node.op_type}, which isn't ONNX's own")
    if any(each.data_location == TensorProto.EXTERNAL for each in _tensors(parsed)):
        raise _forbidden("has weights in other files")


def _forbidden(what: str) -> ArtifactRefused:
    return ArtifactRefused("forbidden", f"model.onnx {what}: a network only computes")


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Of all graphs and functions, and of the graphs in their nodes."""
    for graph in _graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    for graph in _graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for attribute in (*_attributes(_nodes(model)), *_defaults(model)):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)


def _graphs(model: ModelProto) -> Iterator[GraphProto]:
    waiting = [model.graph]
    in_functions = _attributes(node for function in model.functions for node in function.node)
    waiting += _inner((*in_functions, *_defaults(model)))
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += _inner(_attributes(graph.node))


def _inner(attributes: Iterable[AttributeProto]) -> Iterator[GraphProto]:
    for attribute in attributes:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _defaults(model: ModelProto) -> Iterator[AttributeProto]:
    for function in model.functions:
        yield from function.attribute_proto


def _attributes(nodes: Iterable[NodeProto]) -> Iterator[AttributeProto]:
    for node in nodes:
        yield from node.attribute
