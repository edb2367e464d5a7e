"""Batch normalisation by the batch of all ranks of a sharded fit.

`torch.nn.SyncBatchNorm` is for CUDA alone, and takes part in any process group that is there.
"""

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm

from cca_estimators import _ranks


class _Normed(torch.autograd.Function):
    """Values (n, n_features, ...) normalised by those of all ranks; with means, variances, number.

    The passes over the values are PyTorch's own: statistics, the map by given ones, and the sums
    that the gradient asks for. With ``z = (x - mean) * scale`` and the gradient `g` by the outputs
    that by the values is ``weight * scale * (g - mean of g - z * mean of g z)``.
    """

    @staticmethod
    def forward(ctx, values, weight, bias, eps, ranks):
        means, variances = torch.batch_norm_update_stats(values, None, None, 0.0)
        own = torch.stack([torch.full_like(means, values[:, 0].numel()), means, variances])
        numbers, means, variances = ranks.stacked(own).unbind(dim=1)
        total = numbers[:, 0].sum()
        shares = numbers / total
        mean = (shares * means).sum(dim=0)
        variance = (shares * (variances + (means - mean).square())).sum(dim=0)
        ctx.ranks = ranks
        ctx.save_for_backward(values, weight, mean, (variance + eps).rsqrt(), total)
        ctx.mark_non_differentiable(mean, variance, total)
        return batch_norm(values, mean, variance, weight, bias, eps=eps), mean, variance, total

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, *_):
        values, weight, mean, scale, total = ctx.saved_tensors
        _, along, sums = torch.ops.aten.native_batch_norm_backward(
            gradient, values, weight, None, None, mean, scale, True, 0.0, [False, True, True]
        )
        of_values = None
        if ctx.needs_input_grad[0]:
            of_mean, of_scale = ctx.ranks.reduced(torch.stack([sums, along])) / total
            factor = scale if weight is None else scale * weight
            slope = -factor * scale * of_scale
            shift, slope, factor = (
                each.view(-1, *[1] * (values.ndim - 2))
                for each in (-factor * of_mean - slope * mean, slope, factor)
            )
            of_values = torch.addcmul(shift, values, slope).addcmul_(gradient, factor)
        return of_values, *((None, None) if weight is None else (along, sums)), None, None


class _OverRanks:
    """Batch normalisation which is PyTorch's own but while a sharded fit trains it."""

    def forward(self, rows):
        """Return the rows (n, n_features, ...) normalised."""
        ranks = _ranks.current()
        if not self.training or ranks.size == 1:
            return super().forward(rows)
        normed, mean, variance, total = _Normed.apply(rows, self.weight, self.bias, self.eps, ranks)
        self._follow(mean, variance * total / (total - 1))
        return normed

    @torch.no_grad()
    def _follow(self, mean, variance):
        if not self.track_running_stats:
            return
        self.num_batches_tracked += 1
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class BatchNorm1d(_OverRanks, nn.BatchNorm1d):
    """Batch normalisation of rows (n, n_features), or with steps behind."""


class BatchNorm2d(_OverRanks, nn.BatchNorm2d):
    """Batch normalisation of images."""


class BatchNorm3d(_OverRanks, nn.BatchNorm3d):
    """Batch normalisation of videos."""


_OVER_RANKS = {
    nn.BatchNorm1d: BatchNorm1d,
    nn.BatchNorm2d: BatchNorm2d,
    nn.BatchNorm3d: BatchNorm3d,
}


def over_ranks(module):
    """Let the batch normalisations in a module go by the batch of all ranks; return it.

    They stay the objects that they are, with their weights and whatever else was made of them.
    """
    for part in module.modules():
        part.__class__ = _OVER_RANKS.get(type(part), type(part))
    return module
