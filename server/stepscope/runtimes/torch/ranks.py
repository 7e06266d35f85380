"""The best classes of a batch, found where the scores are: a GPU sends back a few numbers instead of thousands."""

import torch

from stepscope.core.rankings import Ranking, ranked, rankings

_SMALLEST = torch.finfo(torch.float64).tiny
_LARGEST = torch.finfo(torch.float64).max


def rank(scores: torch.Tensor, count: int, *, softmax: bool) -> list[Ranking]:
    """Return the `count` best classes of each row of scores, shape (batch, classes); 0 means all."""
    if scores.device.type == "cpu":
        return ranked((scores.float() if scores.dtype == torch.bfloat16 else scores).numpy(), count, softmax=softmax)
    return rank_on_device(scores, count, softmax=softmax)


def rank_on_device(scores: torch.Tensor, count: int, *, softmax: bool) -> list[Ranking]:
    """Do what `core.rankings.ranked` does, by torch."""
    table = scores.to(torch.float64)
    table = torch.nan_to_num(table, nan=-torch.inf, posinf=_LARGEST, neginf=-torch.inf)
    if softmax:
        top = table.amax(dim=1, keepdim=True)
        weights = torch.exp(table - torch.where(top.isfinite(), top, 0.0))
        table = weights / weights.sum(dim=1, keepdim=True).clamp_min(_SMALLEST)
    # A stable sort, since `topk` may take any of equal scores.
    order = torch.sort(table, dim=1, descending=True, stable=True).indices[:, : count or None]
    return rankings(order.cpu().numpy(), table.gather(1, order).cpu().numpy())
