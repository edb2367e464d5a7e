"""Batch normalisation by the batch of all ranks of a sharded fit.

`torch.nn.SyncBatchNorm` is for CUDA alone, and takes part in any process group that is there.
"""

from itertools import chain

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm

from cca_estimators import _ranks
from cca_estimators.deep.towers import MLPTower


class _Normed(torch.autograd.Function):
    """Rows (n, n_features, ...) for each of some layers, normalised by those of all ranks.

    Inputs are rows, weight and bias of each layer. One sum over the ranks serves all layers, and
    one more their gradients. The passes over the rows are PyTorch's own. With
    ``z = (x - mean) * scale`` and the gradient `g` in the outputs, that in the rows is
    ``weight * scale * (g - mean of g - z * mean of g z)``.
    """

    @staticmethod
    def forward(ctx, ranks, layers, *inputs):
        inputs = _groups(inputs, 3)
        moments = _jointly(ranks.stacked, [_moments(rows) for rows, _, _ in inputs])
        outputs, saved = [], []
        for layer, (rows, weight, bias), parts in zip(layers, inputs, moments, strict=True):
            mean, variance, total = _merged(*parts.unbind(dim=1))
            layer.follow(mean, variance, total)
            outputs.append(batch_norm(rows, mean, variance, weight, bias, eps=layer.eps))
            saved += rows, weight, mean, (variance + layer.eps).rsqrt(), total
        ctx.ranks = ranks
        ctx.save_for_backward(*saved)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        saved = _groups(ctx.saved_tensors, 5)
        own = list(map(_weight_gradients, gradients, saved))
        of_rows = [None] * len(own)
        if any(ctx.needs_input_grad[2::3]):
            of_rows = map(_row_gradient, gradients, saved, _jointly(ctx.ranks.reduced, own))
        found = chain.from_iterable((rows, *pair) for rows, pair in zip(of_rows, own, strict=True))
        asked = zip(found, ctx.needs_input_grad[2:], strict=True)
        return None, None, *(gradient if needed else None for gradient, needed in asked)


def _groups(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]


def _jointly(function, parts):
    """Return what a function makes of each part, by one call for all of them side by side."""
    widths = [part.shape[-1] for part in parts]
    return function(torch.cat(parts, dim=-1)).split(widths, dim=-1)


def _moments(rows):
    """Return number, mean and variance of each feature, shape (3, n_features)."""
    means, variances = torch.batch_norm_update_stats(rows, None, None, 0.0)
    return torch.stack([torch.full_like(means, rows[:, 0].numel()), means, variances])


def _merged(numbers, means, variances):
    """Return mean, variance and number of the rows of all ranks, from those of each."""
    total = numbers.sum(dim=0)
    shares = numbers / total
    mean = (shares * means).sum(dim=0)
    return mean, (shares * (variances + (means - mean).square())).sum(dim=0), total


def _weight_gradients(gradient, saved):
    """Return the gradients in weight and bias, shape (2, n_features)."""
    rows, weight, mean, scale, _ = saved
    _, *both = torch.ops.aten.native_batch_norm_backward(
        gradient, rows, weight, None, None, mean, scale, True, 0.0, [False, True, True]
    )
    return torch.stack(both)


def _row_gradient(gradient, saved, sums):
    """Return the gradient in the rows, from those in weight and bias of all ranks."""
    rows, weight, mean, scale, total = saved
    factor = scale if weight is None else scale * weight
    slope, shift = -factor * sums / total
    slope = slope * scale
    parts = slope, shift - slope * mean, factor
    slope, shift, factor = (part.view(-1, *[1] * (rows.ndim - 2)) for part in parts)
    return torch.addcmul(shift, rows, slope).addcmul_(gradient, factor)


def in_step(towers, rows):
    """Return the outputs of towers, each for rows of its own.

    Perceptrons of as many layers go through them together while a sharded fit trains them, so that
    one sum over the ranks serves the normalisations of all views.
    """
    if _ranks.current().size == 1 or not _correspond(towers):
        return [tower(each) for tower, each in zip(towers, rows, strict=True)]
    for layers in zip(*towers, strict=True):
        if all(isinstance(layer, BatchNorm1d) and layer.training for layer in layers):
            rows = _normed(layers, rows)
        else:
            rows = [layer(each) for layer, each in zip(layers, rows, strict=True)]
    return rows


def _correspond(towers):
    kinds = {tuple(map(type, tower.modules())) for tower in towers}
    return len(kinds) == 1 and all(isinstance(tower, MLPTower) for tower in towers)


def _normed(layers, rows):
    inputs = [(each, layer.weight, layer.bias) for layer, each in zip(layers, rows, strict=True)]
    return _Normed.apply(_ranks.current(), layers, *chain.from_iterable(inputs))


class _OverRanks:
    """Batch normalisation which is PyTorch's own but while a sharded fit trains it."""

    def forward(self, rows):
        """Return the rows (n, n_features, ...) normalised."""
        if not self.training or _ranks.current().size == 1:
            return super().forward(rows)
        return _normed([self], [rows])[0]

    def follow(self, mean, variance, number):
        """Let the running figures follow those of a batch of so many rows."""
        if not self.track_running_stats:
            return
        self.num_batches_tracked += 1
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * number / (number - 1), share)


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
