"""Labels in losses: one class for each row, or an indicator of several.

What losses know of labels is here: which rows have one, which rows share one, and how well they
are predicted.
"""

from torch.nn import functional as F

__all__ = ["category_loss", "labelled", "members_of", "sharing"]


def labelled(labels):
    """Return which rows have a label, shape (n,): those not below 0, or with any label."""
    return labels >= 0 if labels.ndim == 1 else labels.any(dim=1)


def sharing(labels):
    """Return which rows share a label with which, ``S S' > 0`` for an indicator `S`.

    Parameters
    ----------
    labels : Tensor of int, shape (n,), or of bool, shape (n, n_classes)
        Class of each row, or an indicator of several.

    Returns
    -------
    Tensor of bool, shape (n, n)

    Examples
    --------
    >>> import torch
    >>> sharing(torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 1]]).bool()).int()
    tensor([[1, 1, 0],
            [1, 1, 1],
            [0, 1, 1]], dtype=torch.int32)
    """
    if labels.ndim == 1:
        return labels[:, None] == labels
    members = labels.float()
    return members @ members.T > 0


def members_of(labels, n_classes):
    """Return 1 at the labels of each row and 0 elsewhere, integers of shape (n, n_classes)."""
    return F.one_hot(labels, n_classes) if labels.ndim == 1 else labels.long()


def category_loss(logits, labels, reduction="mean"):
    """Return the cross entropy of the class of each row, or of even shares of its labels.

    With several labels the target of the softmax is 1/k at each of the `k` labels of a row [1]_:
    with one label it is the usual cross entropy.

    Parameters
    ----------
    logits : Tensor, shape (n, n_classes)
        Outputs of a classifier.
    labels : Tensor of int, shape (n,), or of bool, shape (n, n_classes)
        Class of each row from 0, or an indicator of several.
    reduction : {"mean", "none"}, default="mean"
        The mean over the rows, or the loss of each.

    Returns
    -------
    Tensor, shape () or (n,)
        At least 0.

    References
    ----------
    .. [1] D. Mahajan et al., "Exploring the limits of weakly supervised pretraining", ECCV, 2018.

    Examples
    --------
    >>> import torch
    >>> category_loss(torch.zeros(1, 4), torch.tensor([[1, 1, 0, 0]]).bool())
    tensor(1.3863)
    """
    if labels.ndim > 1:
        members = labels.to(logits.dtype)
        labels = members / members.sum(dim=1, keepdim=True).clamp_min(1)
    return F.cross_entropy(logits, labels, reduction=reduction)
