"""Servables in folders: what a configuration may say, and what is said when it can't be used."""

from pathlib import Path

import pytest

from stepscope.core.errors import ServableInvalid
from stepscope.core.servables import FunctionDeclaration, ModelDeclaration, Source
from stepscope.engine.configurations import Place, find, load, load_all, read, versions

HEAD = "from stepscope.mindspore import register\n"
MODEL = 'model = register.declare_model("m.pt2", "torch_export")\n'
METHOD = "@register.register_method('y')\ndef f(x):\n    return x\n"


def place(folder: Path, text: str | None = HEAD + METHOD, *folders: str) -> Place:
    """Write a servable `s` with some folders of versions, each with a model's file."""
    servable = folder / "s"
    servable.mkdir(parents=True, exist_ok=True)
    if text is not None:
        (servable / "servable_config.py").write_text(text)
    for version in folders:
        (servable / version).mkdir()
        (servable / version / "m.pt2").touch()
    return Place(directory=folder, name="s", framework="Echo")


def told(where: Place, number: int = 0) -> str:
    with pytest.raises(ServableInvalid) as caught:
        load(where, number)
    return str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    nowhere = Place(directory=tmp_path, name="s", framework="Echo")
    assert told(nowhere) == f"Check servable config failed, directory '{tmp_path / 's'}' not exist"
    where = place(tmp_path, None)
    assert told(where) == f"Check servable config failed, file '{tmp_path / 's' / 'servable_config.py'}' not exist"
    place(tmp_path, HEAD + MODEL)
    assert told(where) == "There is no method registered for servable s"
    place(tmp_path, HEAD + MODEL + METHOD)
    assert told(where) == f"There is no valid version directory of models, servable directory: {tmp_path / 's'}"
    (tmp_path / "s" / "1").mkdir()
    assert told(where).startswith("Load model failed, servable directory: ")
    (tmp_path / "s" / "1" / "m.pt2").touch()
    assert [version.number for version in load(where)] == [1]
    assert told(where, 2).startswith(
        "There is no specified version directory of models, specified version number: 2, servable directory: "
    )


def test_a_file_outside_of_its_folder_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(parents=True)
    (tmp_path / "s" / "outside.pt2").touch()
    where = place(tmp_path, HEAD + MODEL.replace("m.pt2", "../outside.pt2") + METHOD, "1")
    assert told(where).startswith("Load model failed, ")


def test_versions_are_numbers_and_the_newest_is_the_default(tmp_path: Path) -> None:
    where = place(tmp_path, HEAD + MODEL + METHOD, "1", "2", "10", "x", "0", "2.1.0")
    assert {number: folder.name for number, folder in versions(where.folder).items()} == {
        1: "1",
        2: "2.1.0",
        10: "10",
    }
    assert [version.number for version in load(where)] == [10]
    assert [version.number for version in load(where, 2)] == [2]
    assert [version.number for version in load_all(where)] == [1, 2, 10]


def test_functions_alone_need_no_version(tmp_path: Path) -> None:
    assert [version.number for version in load_all(place(tmp_path))] == [1]


def test_of_equal_names_the_first_folder_counts(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        place(tmp_path / folder)
    assert list(find([tmp_path / "a", tmp_path / "b"])) == [(tmp_path / "a", "s")]


def test_a_configuration_imports_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "words.py").write_text("NAME = 'y'\n")
    where = place(tmp_path, "from s.words import NAME\n" + HEAD + METHOD.replace("'y'", "NAME"))
    assert read(where).methods["f"].outputs == (("y", Source(0, 0)),)
    assert not list(tmp_path.rglob("__pycache__"))


def test_stages_are_wired_by_placeholders(tmp_path: Path) -> None:
    body = """
def one(x): return x
def two(instances): return instances
@register.register_method(output_names=["a", "b"])
def method(x, y):
    p, q = register.add_stage(model, x, y, outputs_count=2)
    r = register.add_stage(one, q, outputs_count=1, tag="One")
    s = register.add_stage(two, x, r, outputs_count=1, batch_size=4)
    return p, register.add_stage("argmax_cpp", s, outputs_count=1)
"""
    servable = read(place(tmp_path, HEAD + MODEL + body))
    method = servable.methods["method"]
    assert method.inputs == ("x", "y")
    assert method.outputs == (("a", Source(1, 0)), ("b", Source(4, 0)))
    assert [stage.inputs for stage in method.stages] == [
        (Source(0, 0), Source(0, 1)),
        (Source(1, 1),),
        (Source(0, 0), Source(2, 0)),
        (Source(3, 0),),
    ]
    assert [stage.called for stage in method.stages] == [
        "Model 'm.pt2'",
        "One",
        "Function 's.two'",
        "Function 's.argmax_cpp'",
    ]
    assert [stage.name for stage in method.stages] == ["m.pt2", "One", "s.two", "s.argmax_cpp"]
    runs = [stage.runs for stage in method.stages]
    assert isinstance(runs[0], ModelDeclaration)
    assert isinstance(runs[2], FunctionDeclaration)
    assert runs[2].batch_size == 4
    assert servable.models == (runs[0],)
    assert set(servable.methods) == {"method"}  # a model's own method, behind those declared, isn't offered


def stage(call: str) -> str:
    return f"""
def one(x): return x
def other(): pass
@register.register_method("y")
def method(x):
    return register.add_stage({call})
"""


REFUSED = {
    "raise ValueError('no')": "no",
    "import nowhere.to_be_found": "No module named 'nowhere'",
    METHOD + METHOD: "Method f has been registered more than once.",
    "@register.register_method('y')\ndef f(*x): pass\n": "'f' input x cannot be VAR_POSITIONAL !",
    "@register.register_method('y')\ndef f(**x): pass\n": "'f' input x cannot be VAR_KEYWORD !",
    "@register.register_method('y')\ndef f(*, x): pass\n": "'f' input x cannot be KEYWORD_ONLY !",
    "@register.register_method(['a', 'b'])\ndef f(x): return x\n": "Method return output size 1 not match registered 2",
    "@register.register_method([])\ndef f(x): return x\n": "Parameter 'output_names' should be a str, or a list",
    "@register.register_method(['a', 'a'])\ndef f(x): return x\n": "Parameter 'output_names' should be a str, or",
    "@register.register_method('y')\ndef f(x): return 5\n": "Each value of parameter *args is a placeholder for data",
    "register.add_stage(print, outputs_count=1)": "add_stage should be invoked in the function wrapped by",
    stage("one, 5, outputs_count=1"): "Each value of parameter *args is a placeholder for data and must come from the "
    "method inputs or the outputs of add_stage",
    stage("one, x, x, outputs_count=1"): "function one input args count 1 not match the count 2 registered in method",
    stage("other, x, outputs_count=1"): "function other input args count 0 not match the count 1 registered in method",
    stage("one, x, outputs_count=0"): "Parameter 'outputs_count' should be int and 1 or more, but actually 0",
    stage("one, x, outputs_count=1, batch_size=-1"): "Parameter 'batch_size' should be int and 0 or more",
    stage("one, x, outputs_count=1, tag=''"): "Parameter 'tag' should be a str that isn't empty",
    stage("'argmax', x, outputs_count=1"): "There is no built-in function 'argmax'; there is argmax_cpp",
    stage("5, x, outputs_count=1"): "Parameter 'stage' should be a function or a Model, but actually <class 'int'>",
    stage("one, register.add_stage(one, x, outputs_count=1, batch_size=2), outputs_count=1"): "Failed to add stage "
    "function s.one: parameter 'batch_size' in multiple 'add_stage' should be enabled or disabled consistently",
    MODEL + MODEL: "model file 'm.pt2' has already been used",
    MODEL.replace("torch_export", "MindIR"): "model_format 'MindIR' isn't served here; the formats are 'torch_export', "
    "'torchscript', 'safetensors'",
    MODEL.replace('"m.pt2"', '["a.pt2", "b.pt2"]'): "Several files of one model are subgraphs, which PyTorch models "
    "don't have: declare each file by itself",
    MODEL.replace(")", ", with_batch_dim=1)"): "Parameter 'with_batch_dim' should be bool, but actually <class 'int'>",
    MODEL.replace(")", ", without_batch_dim_inputs=-1)"): "Parameter 'without_batch_dim_inputs' should be int or",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_a_configuration_may_not_say(tmp_path: Path, text: str, reason: str) -> None:
    assert told(place(tmp_path, HEAD + text, "1")).startswith(f"import s.servable_config failed, {reason}")


def test_formats_are_known_in_any_case(tmp_path: Path) -> None:
    text = "".join(
        f'register.declare_model("{place}", "{name}")\n'
        for place, name in enumerate(["TORCH_EXPORT", "TorchScript", "Safetensors"])
    )
    found = read(place(tmp_path, HEAD + text + METHOD)).models
    assert [model.format for model in found] == ["torch.export", "torchscript", "safetensors"]


def test_what_is_for_other_backends_changes_nothing(tmp_path: Path) -> None:
    context = """
context = register.Context(thread_num=1)
context.append_device_info(register.CPUDeviceInfo(precision_mode="fp16"))
register.declare_model("m.pt2", "torch_export", True, None, [0], context, "config.ini")
"""
    (model,) = read(place(tmp_path, HEAD + context + METHOD)).models
    assert model.shared_inputs == (0,)


def test_declarations_belong_into_a_configuration() -> None:
    from stepscope.mindspore import register

    with pytest.raises(RuntimeError, match=r"Declarations belong into a servable_config\.py"):
        register.declare_model("m.pt2", "torch_export")
