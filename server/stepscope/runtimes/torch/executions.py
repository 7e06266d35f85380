"""The ways of running a model, one function for each form: from a module to something that takes and gives tensors.

None of them changes the module that it is given; where a way needs other weights, it works on a copy.
"""

import copy
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx import Graph, GraphModule
from torch.jit import ScriptModule
from torch.jit._trace import TracerWarning

from stepscope.core.tuning import FP32_TOLERANCE, LEAST_FOR_BF16, LEAST_FOR_TF32, Form, Precision, Way
from stepscope.runtimes.torch.batches import Module, Run, Tensors, flat
from stepscope.runtimes.torch.faults import LoadFault
from stepscope.runtimes.torch.graphs import captured

COMPILED_FROM_S = {"cpu": 0.05, "cuda": 0.005}
"""Time of one eager run at batch 1 from which `compile = "auto"` tries `torch.compile`: below it the compiler's own
memory (some 300 MB) and minutes of work cost more than they bring."""
COMPILED_BUDGET_S = 60.0
"""The budget that `compile = "auto"` asks for besides: compiling a ResNet-50 takes a minute on two cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What a way is built with: the model's inputs, and the batch sizes that CUDA graphs are captured for."""

    tensors: Tensors
    steps: tuple[int, ...] = ()


NATIVE_UP_TO_S = 0.005
"""Time of one eager run at batch 1 up to which convolutions as plain products are tried: oneDNN, which is far faster
at real work, takes some 100 us to prepare each of its calls."""


def build(model: Module, way: Way, example: Example) -> Run:
    """Make a model ready to run in a way. Raises `LoadFault`, and whatever torch raises."""
    if way.precision is Precision.TF32 and way.form is not Form.GRAPHS:
        raise LoadFault("TF32 is a switch of the whole process, which only CUDA graphs keep to themselves")
    return _BUILDERS[way.form](_converted(model, way), way, example)


def possible_ways(model: Module, device: torch.device, tolerance: float, example: Tensors) -> list[Way]:
    """Return the ways to try on a device, eager first, those that most often win before the rest."""
    convertible = isinstance(model, nn.Module) and not isinstance(model, GraphModule)
    layouts = (False, True) if convertible and any(each.ndim == 4 for each in example) else (False,)
    precisions = [each for each in _precisions(device, tolerance, example) if convertible or each is not Precision.BF16]
    forms = (Form.GRAPHS, Form.EAGER) if device.type == "cuda" else (Form.FROZEN, Form.EAGER)
    ways = [
        Way(form, channels_last=layout, precision=precision)
        for precision in reversed(precisions)
        for form in forms
        for layout in layouts
        # TF32 is a switch of the whole process: only a captured graph keeps it to itself.
        if precision is not Precision.TF32 or form is Form.GRAPHS
    ]
    return [Way(), *(way for way in ways if way != Way())]


def compiled_ways(ways: list[Way]) -> list[Way]:
    """Return the ways that compile, one for each precision, in the layout that compiled code prefers."""
    layout = any(way.channels_last for way in ways)
    precisions = dict.fromkeys(way.precision for way in ways if way.precision is not Precision.TF32)
    return [Way(Form.COMPILED, channels_last=layout, precision=precision) for precision in precisions]


def has_compiler(device: torch.device) -> bool:
    """Whether `torch.compile` has what it needs: a C++ compiler, or Triton for a GPU."""
    if device.type == "cuda":
        return torch.utils._triton.has_triton()
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "c++", "clang++"))


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is calculated by instructions of its own: elsewhere it is many times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _precisions(device: torch.device, tolerance: float, example: Tensors) -> list[Precision]:
    if not any(each.dtype == torch.float32 for each in example):
        return [Precision.FP32]
    precisions = [Precision.FP32]
    if device.type == "cuda" and tolerance >= LEAST_FOR_TF32 and torch.cuda.get_device_capability(device) >= (8, 0):
        precisions.append(Precision.TF32)
    if tolerance >= max(LEAST_FOR_BF16, FP32_TOLERANCE) and has_fast_bf16(device):
        precisions.append(Precision.BF16)
    return precisions


def _converted(model: Module, way: Way) -> Module:
    """Return the model in a way's layout and precision."""
    if not way.channels_last and way.precision is not Precision.BF16:
        return model
    if not isinstance(model, nn.Module) or isinstance(model, GraphModule):
        raise LoadFault("the types and layouts of its tensors are part of its graph")
    changed = copy.deepcopy(model)
    if way.channels_last:
        changed = changed.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return changed.to(torch.bfloat16) if way.precision is Precision.BF16 else changed


def _inputs_for(way: Way) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return what turns an input into a way's layout and precision, None where nothing is to be done."""
    dtype = torch.bfloat16 if way.precision is Precision.BF16 else torch.float32
    if not way.channels_last and dtype is torch.float32:
        return None

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        wanted = dtype if tensor.dtype == torch.float32 else tensor.dtype
        layout = torch.channels_last if way.channels_last and tensor.ndim == 4 else torch.preserve_format
        return tensor.to(wanted, memory_format=layout)

    return convert


def _converting(run: Run, way: Way) -> Run:
    convert = _inputs_for(way)
    return run if convert is None else lambda tensors: run(tuple(map(convert, tensors)))


def eager(model: Module) -> Run:
    """Run a module as it is."""
    return lambda tensors: tuple(flat(model(*tensors)))


def _eager(model: Module, way: Way, _example: Example) -> Run:
    return _converting(eager(model), way)


def _frozen(model: Module, way: Way, example: Example) -> Run:
    """Trace the model into a graph with its weights as constants, and optimise that.

    These are the passes of `torch.jit.freeze` and `optimize_for_inference`, called one by one (torch 2.13,
    `torch/csrc/jit/passes/frozen_graph_optimizations.cpp`, `jit/api/module.cpp`). The public functions keep every
    module that was ever traced in one registry: 114 MB for each load of a ResNet-50. A graph of our own doesn't.
    """
    return _converting(eager(_graph_function(model, way, example, _for_onednn)), way)


def _native(model: Module, way: Way, example: Example) -> Run:
    """Do as `_frozen` does, with convolutions as plain matrix products instead of calls of oneDNN.

    Raises `LoadFault` where there is none, or where one is grouped, dilated, transposed or not two-dimensional.
    """
    return _converting(eager(_graph_function(model, way, example, _for_plain_products)), way)


def _graph_function(model: Module, way: Way, example: Example, finish: Callable[[torch._C.Graph], None]) -> Module:
    with torch.no_grad():
        if isinstance(model, ScriptModule):
            function = torch._C._freeze_module(model._c, [])._get_method("forward")
            _optimise(function.graph, finish)
            return function
        plain = _unguarded(model) if isinstance(model, GraphModule) else model
        graph = _traced(plain, _converted_inputs(way, example.tensors))
        _optimise(graph, finish)
        return torch._C._create_function_from_graph("forward", graph)


def _unguarded(model: GraphModule) -> GraphModule:
    """Return an exported program without the checks of its inputs, which a tracer takes for decisions."""
    graph = Graph()
    graph.output(graph.graph_copy(model.graph, {}))
    for node in list(graph.nodes):
        if node.op == "call_module" and node.target == "_guards_fn":
            graph.erase_node(node)
    return GraphModule(model, graph)


def _optimise(graph: torch._C.Graph, finish: Callable[[torch._C.Graph], None]) -> None:
    torch._C._jit_pass_inline(graph)
    torch._C._jit_pass_optimize_frozen_graph(graph, True)
    finish(graph)
    torch._C._jit_pass_transpose_frozen_linear(graph)


def _for_onednn(graph: torch._C.Graph) -> None:
    torch._C._jit_pass_fuse_frozen_conv_add_relu(graph)
    torch._C._jit_pass_convert_frozen_ops_to_mkldnn(graph)


_CONVOLUTION = "%x, %weight, %bias, %stride, %padding, %dilation, %transposed, %output, %groups, %a, %b, %c, %d"
_AS_PRODUCT = """
  %none : NoneType = prim::Constant()
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %sizes : int[] = aten::size(%weight)
  %kernel : int[] = aten::slice(%sizes, %two, %none, %one)
  %result = aten::thnn_conv2d(%x, %weight, %kernel, %bias, %stride, %padding)
"""


def _for_plain_products(graph: torch._C.Graph) -> None:
    torch._C._jit_pass_constant_propagation(graph)
    found: list[torch._C.Node] = graph.findAllNodes("aten::_convolution")  # type: ignore[attr-defined]
    if not found or not all(map(_is_plain, found)):
        raise LoadFault("it has no convolutions, or some that plain products can't do")
    torch._C._jit_pass_custom_pattern_based_rewrite_graph(
        f"graph({_CONVOLUTION}):\n  %result = aten::_convolution({_CONVOLUTION})\n  return (%result)",
        f"graph({_CONVOLUTION}):{_AS_PRODUCT}  return (%result)",
        graph,
    )
    torch._C._jit_pass_constant_propagation(graph)


def _is_plain(convolution: torch._C.Node) -> bool:
    """Whether a convolution is two-dimensional, and neither dilated nor transposed nor grouped."""
    _, _, _, _, _, dilation, transposed, _, groups, *_ = convolution.inputs()
    return [each.toIValue() for each in (dilation, transposed, groups)] == [[1, 1], False, 1]


def _converted_inputs(way: Way, tensors: Tensors) -> Tensors:
    """Return copies of the inputs in a way's layout and precision; a model may change its inputs."""
    convert = _inputs_for(way)
    return tuple(tensor.clone() if convert is None else convert(tensor.clone()) for tensor in tensors)


def _traced(model: Module, inputs: Tensors) -> torch._C.Graph:
    """Record what the model does with its inputs. Raises `LoadFault` where that depends on more than them."""
    # What the tracer warns of is a trace that is right for this example only. The filter stays: to put the old ones
    # back isn't safe beside other threads.
    warnings.simplefilter("error", TracerWarning)
    run = eager(model)
    try:
        traced = torch._C._create_graph_by_tracing(
            lambda *tensors: run(tensors), inputs, lambda _: "", True, False, None, []
        )
    except SystemError as fault:  # the tracer's C++ goes on a little after its warning became an error
        raise _values_decide() from fault
    except TracerWarning as fault:
        raise _values_decide() from fault
    return traced[0]


def _values_decide() -> LoadFault:
    return LoadFault("its code takes decisions by the values or shapes of tensors, which a trace can't follow")


def _compiled(model: Module, way: Way, example: Example) -> Run:
    """Compile the model for any batch size, in this process: worker processes would stay.

    Raises `LoadFault` without a compiler.
    """
    if not has_compiler(example.tensors[0].device):
        raise LoadFault("torch.compile needs a C++ compiler, or Triton for a GPU")
    import torch._inductor.config as inductor

    inductor.compile_threads = 1
    compiled = torch.compile(model, dynamic=True)
    run = _converting(eager(compiled), way)
    with torch.inference_mode():
        run(tuple(tensor.clone() for tensor in example.tensors))
    return run


def _graphs(model: Module, way: Way, example: Example) -> Run:
    return captured(
        _converting(eager(model), way), example.tensors, example.steps, tf32=way.precision is Precision.TF32
    )


_BUILDERS: dict[Form, Callable[[Module, Way, Example], Run]] = {
    Form.EAGER: _eager,
    Form.FROZEN: _frozen,
    Form.NATIVE: _native,
    Form.COMPILED: _compiled,
    Form.GRAPHS: _graphs,
}
