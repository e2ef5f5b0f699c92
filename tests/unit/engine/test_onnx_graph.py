from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper

from pipeline.engine import onnxruntime_engine
from pipeline.engine.onnx_graph import check_graph
from pipeline.engine.onnxruntime_engine import load_onnxruntime
from pipeline.errors import ArtifactRefused
from tests.artifacts import tiny_onnx_bytes


def altered(change: Callable[[ModelProto], None]) -> bytes:
    model = ModelProto.FromString(tiny_onnx_bytes())
    change(model)
    return model.SerializeToString()


def external(tensor: TensorProto) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def initializer_elsewhere(model: ModelProto) -> None:
    external(model.graph.initializer[3])


def constant_elsewhere(model: ModelProto) -> None:
    constant = external(TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1]))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=constant))


def inner_graph(node: object) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        branch = helper.make_graph([node], "branch", [], [value])  # pyright: ignore
        deeper = helper.make_graph(
            [helper.make_node("If", ["b"], ["y"], then_branch=branch, else_branch=branch)],
            *("deeper", [], [value]),
        )
        model.graph.node.append(
            helper.make_node("If", ["b"], ["y"], then_branch=deeper, else_branch=deeper)
        )

    return change


def foreign(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Run", ["images"], ["z"], domain="com.evil"))


def foreign_in_a_function(model: ModelProto) -> None:
    node = helper.make_node("Run", ["x"], ["y"], domain="com.evil")
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("own", "F", ["x"], ["y"], [node], opsets))


def foreign_beside_a_function_of_its_domain(model: ModelProto) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("com.evil", "F", ["x"], ["y"], [node], opsets))
    foreign(model)


def default_elsewhere(model: ModelProto) -> None:
    function = helper.make_function(
        *("own", "F", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])]),
        [helper.make_opsetid("", 18)],
    )
    tensor = external(TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1]))
    function.attribute_proto.append(helper.make_attribute("value", tensor))
    model.functions.append(function)


def test_a_network_that_holds_all_of_itself_passes() -> None:
    check_graph(tiny_onnx_bytes())


def test_a_function_of_its_own_may_be_called() -> None:
    def change(model: ModelProto) -> None:
        node = helper.make_node("Identity", ["x"], ["y"])
        opsets = [helper.make_opsetid("", 18)]
        model.functions.append(helper.make_function("own", "F", ["x"], ["y"], [node], opsets))
        model.graph.node.append(helper.make_node("F", ["images"], ["z"], domain="own"))

    check_graph(altered(change))


@pytest.mark.parametrize(
    "change",
    [
        initializer_elsewhere,
        constant_elsewhere,
        default_elsewhere,
        inner_graph(
            helper.make_node(
                "Constant",
                [],
                ["y"],
                value=external(TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1])),
            )
        ),
    ],
)
def test_weights_in_another_file_are_forbidden(change: Callable[[ModelProto], None]) -> None:
    with pytest.raises(ArtifactRefused, match="weights in other files") as refused:
        load_onnxruntime(altered(change), threads=1)
    assert refused.value.reason == "forbidden"


@pytest.mark.parametrize(
    "change",
    [
        foreign,
        foreign_in_a_function,
        foreign_beside_a_function_of_its_domain,
        inner_graph(helper.make_node("Run", [], ["y"], domain="com.evil")),
    ],
)
def test_an_operator_of_somebody_else_is_forbidden(change: Callable[[ModelProto], None]) -> None:
    with pytest.raises(ArtifactRefused, match=r"com\.evil::Run, which isn't ONNX's own") as refused:
        load_onnxruntime(altered(change), threads=1)
    assert refused.value.reason == "forbidden"


def test_bytes_that_are_no_network_are_corrupt() -> None:
    whole = tiny_onnx_bytes()
    two_outputs = altered(
        lambda model: model.graph.output.append(
            helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", "h", "w", 3])
        )
    )
    unknown = altered(lambda model: model.graph.node[0].ClearField("op_type"))
    for data in (b"", b"junk", whole[:-20], two_outputs, unknown):
        with pytest.raises(ArtifactRefused) as refused:
            load_onnxruntime(data, threads=1)
        assert refused.value.reason == "corrupt"


def test_onnx_runtimes_own_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may be both: what is looked at must be what is run."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "tiny.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(tiny_onnx_bytes(), options, providers=["CPUExecutionProvider"])
    data = (tmp_path / "tiny.ort").read_bytes()
    ort.InferenceSession(data, providers=["CPUExecutionProvider"])  # it would run
    monkeypatch.setattr(onnxruntime_engine, "check_graph", lambda _: None)
    with pytest.raises(ArtifactRefused) as refused:
        load_onnxruntime(data, threads=1)
    assert refused.value.reason == "corrupt"


def test_other_inputs_and_outputs_than_pictures_and_numbers_are_refused() -> None:
    def words(model: ModelProto) -> None:
        del model.graph.node[:], model.graph.output[:]
        text = helper.make_tensor("t", TensorProto.STRING, [1], [b"1.5"])
        model.graph.node.append(helper.make_node("Constant", [], ["logits"], value=text))
        model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.STRING, [1]))

    def floats(model: ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT

    for change in (words, floats):
        with pytest.raises(ArtifactRefused, match="expected one") as refused:
            load_onnxruntime(altered(change), threads=1)
        assert refused.value.reason == "corrupt"
