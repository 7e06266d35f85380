"""Declaring models: files in a version's folder, in torch's formats."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stepscope.core.manifests import TensorSpec
from stepscope.core.servables import CALL_MODEL, ModelDeclaration, StageFailed, Value, Values
from stepscope.mindspore.context import Context
from stepscope.mindspore.declarations import current

log = logging.getLogger("stepscope.servables")

FORMATS = {"torch_export": "torch.export", "torchscript": "torchscript", "safetensors": "safetensors"}


class Model:
    """A declared model: what `add_stage` takes, and what a stage's function may call by itself."""

    def __init__(self, declaration: ModelDeclaration) -> None:
        self.declaration = declaration

    @property
    def key(self) -> str:
        """What errors call it."""
        return self.declaration.file

    def call(self, *args: Any, subgraph: int = 0) -> Any:
        """Run the model from within a function: on the inputs of one instance, or on a list of instances.

        `call(x1, x2)` gives the output, or a tuple where there are several; `call([[x1, x2], ...])` a tuple of tuples.
        Raises `RuntimeError`.
        """
        if subgraph != 0:
            count = "the subgraph count of the model is 1"
            raise self._failed(f"The model does not have subgraph of index {subgraph}, {count}")
        if not args:
            raise self._failed("no inputs provided, the inputs can be call(x1, x2) or call([[x1, x2], [x1, x2]])")
        if isinstance(args[0], list | tuple):
            return tuple(self._run(self._instances(args)))
        outputs = self._run([self._values(args)])[0]
        return outputs[0] if len(outputs) == 1 else outputs

    def _instances(self, args: tuple[Any, ...]) -> list[Values]:
        if len(args) != 1 or not all(isinstance(each, list | tuple) for each in args[0]):
            raise self._failed("inputs format invalid, the inputs can be call(x1, x2) or call([[x1, x2], [x1, x2]])")
        if not args[0]:
            raise self._failed("Input instances count is 0")
        return [self._values(each) for each in args[0]]

    def _values(self, inputs: Sequence[Any]) -> Values:
        return tuple([_value(each) for each in inputs])

    def _run(self, instances: list[Values]) -> Sequence[Values]:
        run = CALL_MODEL.get(None)
        if run is None:
            raise self._failed("it can only be called by a function of a stage")
        try:
            return run(self.declaration, instances)
        except KeyError:
            raise self._failed("the model is not declared") from None
        except StageFailed as failure:
            raise self._failed(str(failure)) from None

    def _failed(self, reason: str) -> RuntimeError:
        return RuntimeError(f"Model({self.key}).call() failed: {reason}")


def _value(item: Any) -> Value:
    return item if isinstance(item, str | bytes) else np.asarray(item)


def declare_model(
    model_file: str | Sequence[str],
    model_format: str,
    with_batch_dim: bool = True,
    options: object = None,
    without_batch_dim_inputs: int | Sequence[int] | None = None,
    context: Context | None = None,
    config_file: str | None = None,
    *,
    architecture: str = "",
    arguments: Mapping[str, object] | None = None,
    inputs: Sequence[tuple[str, Sequence[int | None]]] = (),
) -> Model:
    """Declare a model by its file in the folders of versions. Raises `RuntimeError`.

    `model_format` is torch_export, torchscript or safetensors, in any case. With `with_batch_dim`, dimension 0 of the
    inputs and outputs counts instances, except for the inputs listed by `without_batch_dim_inputs`.

    Beyond what other servers know: `architecture` and `arguments` make the module of a safetensors file (`file.py:Name`
    beside it, or `package.module:name`), and `inputs` gives each input's type and shape for one instance where the file
    doesn't say, None for a length that is open. A manifest.yaml beside the file says all that as well.
    """
    declarations = current()
    file = _file(model_file)
    if any(file == declared.file for declared in declarations.models):
        raise RuntimeError(f"model file '{file}' has already been used")
    if options is not None or context is not None or config_file is not None:
        log.warning("%s: options, context and config_file are for other backends; they change nothing here", file)
    declaration = ModelDeclaration(
        file=file,
        format=_format(model_format),
        with_batch_dim=_flag("with_batch_dim", with_batch_dim),
        shared_inputs=_places(without_batch_dim_inputs) if with_batch_dim else (),
        architecture=architecture,
        arguments=dict(arguments or {}),
        inputs=tuple([TensorSpec(element_type=kind, dimensions=tuple(shape)) for kind, shape in inputs]),
    )
    declarations.models.append(declaration)
    return Model(declaration)


def _file(model_file: str | Sequence[str]) -> str:
    files = [model_file] if isinstance(model_file, str) else list(model_file)
    if not files or not all(isinstance(file, str) and file for file in files):
        raise RuntimeError("Parameter 'model_file' should be a file's name, or a list of one")
    if len(files) > 1:
        raise RuntimeError(
            "Several files of one model are subgraphs, which PyTorch models don't have: declare each file by itself"
        )
    return files[0]


def _format(model_format: str) -> str:
    found = FORMATS.get(model_format.lower()) if isinstance(model_format, str) else None
    if found is None:
        known = ", ".join(f"'{name}'" for name in FORMATS)
        raise RuntimeError(f"model_format {model_format!r} isn't served here; the formats are {known}")
    return found


def _flag(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise RuntimeError(f"Parameter '{name}' should be bool, but actually {type(value)}")
    return value


def _places(given: int | Sequence[int] | None) -> tuple[int, ...]:
    places = () if given is None else (given,) if isinstance(given, int) else tuple(given)
    if not all(isinstance(place, int) and not isinstance(place, bool) and place >= 0 for place in places):
        raise RuntimeError("Parameter 'without_batch_dim_inputs' should be int or a list of them, 0 or more")
    return places
