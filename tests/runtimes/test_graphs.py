"""CUDA graphs: what goes around them is tested anywhere, the graphs themselves on a GPU."""

import pytest
import torch

from stepscope.runtimes.torch.batches import Tensors
from stepscope.runtimes.torch.faults import LoadFault
from stepscope.runtimes.torch.graphs import Captured, Graphs, captured

STEPS = (1, 2, 4, 8)


def doubled(tensors: Tensors) -> Tensors:
    return (tensors[0] * 2, tensors[0].sum(1))


class Recorded:
    """Stands in for a capture: replays by running the model on the buffers, and notes the sizes."""

    def __init__(self) -> None:
        self.replayed: list[int] = []
        self.captured: list[int] = []

    def __call__(self, size: int) -> Captured:
        self.captured.append(size)
        inputs = (torch.zeros(size, 3),)
        outputs = (torch.zeros(size, 3), torch.zeros(size))

        def replay() -> None:
            self.replayed.append(size)
            for output, fresh in zip(outputs, doubled(inputs), strict=True):
                output.copy_(fresh)

        return Captured(replay, inputs, outputs)


def test_a_batch_runs_in_the_smallest_graph_that_holds_it() -> None:
    capture = Recorded()
    graphs = Graphs(capture, STEPS, doubled)
    assert capture.captured == [8, 4, 2, 1]
    for count in (1, 2, 3, 5, 8, 1):
        batch = torch.randn(count, 3)
        assert all(torch.equal(a, b) for a, b in zip(graphs((batch,)), doubled((batch,)), strict=True))
    assert capture.replayed == [1, 2, 4, 8, 8, 1]


def test_a_batch_beyond_the_ladder_runs_without_a_graph() -> None:
    capture = Recorded()
    batch = torch.randn(9, 3)
    assert torch.equal(Graphs(capture, STEPS, doubled)((batch,))[0], batch * 2)
    assert capture.replayed == []


def test_answers_are_the_callers_own() -> None:
    graphs = Graphs(Recorded(), STEPS, doubled)
    first = graphs((torch.ones(2, 3),))
    graphs((torch.full((2, 3), 7.0),))
    assert first[0].tolist() == [[2.0] * 3] * 2


def test_graphs_need_a_gpu() -> None:
    with pytest.raises(LoadFault, match="CUDA"):
        captured(doubled, (torch.zeros(1, 3),), STEPS, tf32=False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_captured_graphs_answer_as_the_model_does() -> None:
    layer = torch.nn.Linear(64, 32).cuda().requires_grad_(False)
    graphs = captured(lambda tensors: (layer(tensors[0]),), (torch.zeros(1, 64, device="cuda"),), STEPS, tf32=False)
    with torch.inference_mode():
        for count in (1, 3, 8, 9):
            batch = torch.randn(count, 64, device="cuda")
            assert torch.allclose(graphs((batch,))[0], layer(batch), atol=1e-5)
