"""Batch normalisation by the batch of all ranks of a sharded fit.

`torch.nn.SyncBatchNorm` is for CUDA alone, and takes part in any process group that is there.
"""

import torch
from torch import nn

from cca_estimators import _ranks


class _OverRanks:
    """Batch normalisation which is PyTorch's own but while a sharded fit trains it."""

    def forward(self, rows):
        """Return the rows (n, n_features, ...) normalised."""
        ranks = _ranks.current()
        if not self.training or ranks.size == 1:
            return super().forward(rows)
        per_feature = rows.transpose(0, 1).flatten(1)
        n_values = per_feature.shape[1]
        sums = ranks.sum(torch.cat([per_feature.sum(dim=1), per_feature.new_tensor([n_values])]))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centred = per_feature - mean[:, None]
        variance = ranks.sum(centred.square().sum(dim=1)) / total
        self._follow(mean, variance * total / (total - 1))
        normed = centred * (variance + self.eps).rsqrt()[:, None]
        if self.affine:
            normed = torch.addcmul(self.bias[:, None], normed, self.weight[:, None])
        return normed.unflatten(1, (rows.shape[0], *rows.shape[2:])).transpose(0, 1)

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
