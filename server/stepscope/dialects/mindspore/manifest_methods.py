"""The method `predict` of a model without a configuration, made from its manifest.

Inputs are called `name` in the manifest's parameters, or else `image` for an image and `x0`, `x1`, ... for arrays. A
classifier's outputs are `index`, `label` and `probability`; others give their arrays as `y0`, `y1`, ...
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import yaml

from stepscope.codecs.features import features
from stepscope.codecs.images import decode, preprocess
from stepscope.codecs.labels import read_labels
from stepscope.core.manifests import ImageSpec, InputSpec, Manifest
from stepscope.core.predictions import Classification, FeatureType
from stepscope.core.servables import FunctionDeclaration, Method, ModelDeclaration, Servable, Source, Stage, StageFailed
from stepscope.core.versions import parse_version
from stepscope.engine.servables import Version

NAME = "predict"
CLASS = ("index", "label", "probability")


def versions(manifests: Sequence[Manifest]) -> list[Version]:
    """Return a servable's version for each major version of a model, the newest of each."""
    newest: dict[tuple[str, int], Manifest] = {}
    for manifest in sorted(manifests, key=lambda each: parse_version(each.version)):
        if (number := parse_version(manifest.version).major) > 0:
            newest[manifest.name, number] = manifest
    return [_version(manifest, number) for (_, number), manifest in newest.items()]


def _version(manifest: Manifest, number: int) -> Version:
    model = ModelDeclaration(file=manifest.name, format=manifest.weights.format)
    method = _method(manifest, model)
    servable = Servable(name=manifest.name, methods={NAME: method}, models=(model,))
    return Version(number=number, servable=servable, manifests={model: manifest})


def _method(manifest: Manifest, model: ModelDeclaration) -> Method:
    stages: list[Stage] = []
    sources = []
    for place, entry in enumerate(manifest.inputs):
        source = Source(0, place)
        if isinstance(entry.spec, ImageSpec):
            stages.append(_function("Preprocess", _read_image(entry.spec), (source,), 1, manifest))
            source = Source(len(stages), 0)
        sources.append(source)
    is_class = manifest.output.feature_type is FeatureType.CLASSIFICATION
    count = 1 + max(manifest.output.probabilities_layer if is_class else 0, 0)
    stages.append(Stage(runs=model, inputs=tuple(sources), outputs_count=count))
    given = tuple([Source(len(stages), place) for place in range(count)])
    if is_class:
        stages.append(_function("Postprocess", _classify(manifest), given, len(CLASS), manifest))
        outputs = tuple([(name, Source(len(stages), place)) for place, name in enumerate(CLASS)])
    else:
        outputs = tuple([(f"y{place}", source) for place, source in enumerate(given)])
    names = tuple([_name(entry, place) for place, entry in enumerate(manifest.inputs)])
    return Method(name=NAME, inputs=names, outputs=outputs, stages=tuple(stages))


def _name(entry: InputSpec, place: int) -> str:
    given = entry.parameters.get("name", "")
    name = yaml.safe_load(given) if given else None
    if isinstance(name, str) and name:
        return name
    return "image" if isinstance(entry.spec, ImageSpec) else f"x{place}"


def _function(
    tag: str, call: Callable[..., Any], inputs: tuple[Source, ...], outputs_count: int, manifest: Manifest
) -> Stage:
    function = FunctionDeclaration(name=f"{manifest.name}.{tag.lower()}", call=call)
    return Stage(runs=function, inputs=inputs, outputs_count=outputs_count, tag=tag)


def _read_image(spec: ImageSpec) -> Callable[[Any], Any]:
    def read(image: Any) -> Any:
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            raise StageFailed("the image has to be bytes")
        return preprocess(decode(image.tobytes(), spec), spec)

    return read


def _classify(manifest: Manifest) -> Callable[..., Any]:
    path = manifest.folder / manifest.output.labels_path if manifest.output.labels_path else None
    labels = read_labels(path.read_bytes()) if path is not None and path.is_file() else ()

    def classify(*layers: Any) -> tuple[int, str, float]:
        best = features(layers, manifest.output, labels, 1)[0]
        assert isinstance(best.payload, Classification), "the manifest's output says so"
        return best.payload.index, best.payload.label, best.probability

    return classify
