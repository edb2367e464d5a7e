"""Batch normalisation by the batch of all ranks of a sharded fit.

`torch.nn.SyncBatchNorm` is for CUDA alone, and takes part in any process group that is there.
"""

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from cca_estimators import _ranks


class _Normed(torch.autograd.Function):
    """Values (n, n_features) normalised by those of all ranks; with means, variances and number.

    The gradient is written out, which passes over the values less often than one of its parts.
    """

    @staticmethod
    def forward(ctx, values, eps, ranks):
        variances, means = torch.var_mean(values, dim=0, correction=0)
        own = torch.stack([torch.full_like(means, len(values)), means, variances])
        numbers, means, variances = ranks.stacked(own).unbind(dim=1)
        total = numbers[:, 0].sum()
        shares = numbers / total
        mean = (shares * means).sum(dim=0)
        variance = (shares * (variances + (means - mean).square())).sum(dim=0)
        scale = (variance + eps).rsqrt()
        normed = (values - mean).mul_(scale)
        ctx.ranks = ranks
        ctx.save_for_backward(normed, scale, total)
        ctx.mark_non_differentiable(mean, variance, total)
        return normed, mean, variance, total

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, *_):
        normed, scale, total = ctx.saved_tensors
        own = torch.stack([gradient.sum(dim=0), (gradient * normed).sum(dim=0)])
        mean, along = ctx.ranks.reduced(own) / total
        return (gradient - mean).addcmul_(normed, along, value=-1).mul_(scale), None, None


class _OverRanks:
    """Batch normalisation which is PyTorch's own but while a sharded fit trains it."""

    def forward(self, rows):
        """Return the rows (n, n_features, ...) normalised."""
        ranks = _ranks.current()
        if not self.training or ranks.size == 1:
            return super().forward(rows)
        values = rows.movedim(1, -1)
        normed, mean, variance, total = _Normed.apply(values.flatten(0, -2), self.eps, ranks)
        self._follow(mean, variance * total / (total - 1))
        if self.affine:
            normed = torch.addcmul(self.bias, normed, self.weight)
        return normed.view_as(values).movedim(-1, 1)

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
