"""Losses that draw the rows of a pair or class together and push all others apart.

All are plain functions of tensors.
"""

import torch
from torch.nn import functional as F

from cca_estimators.deep.losses.labels import category_loss, labelled, sharing


def pair_loss(x, y, temperature=0.1):
    """Return the symmetric cross entropy of finding the partners in a batch (InfoNCE).

    The similarities of a row to all rows of the other view, cosines over the temperature, are the
    logits of its partner [1]_; both directions are averaged.

    Parameters
    ----------
    x, y : Tensor, shape (n, n_outputs)
        Outputs for aligned rows.
    temperature : float, default=0.1
        Above 0.

    Returns
    -------
    Tensor, shape ()
        At least 0; log n where nothing is told apart.

    References
    ----------
    .. [1] A. van den Oord, Y. Li, O. Vinyals, "Representation learning with contrastive predictive
       coding", arXiv:1807.03748, 2018.

    Examples
    --------
    >>> import torch
    >>> pair_loss(torch.eye(4), torch.ones(4, 4))
    tensor(1.3863)
    """
    logits = cosines(x, y) / temperature
    partners = torch.arange(len(x), device=x.device)
    return (F.cross_entropy(logits, partners) + F.cross_entropy(logits.T, partners)) / 2


def sigmoid_pair_loss(x, y, scale, bias):
    """Return the mean log loss of telling pairs from all else, one cosine at a time (SigLIP).

    ``-mean log sigmoid(s (scale * cosine + bias))`` with ``s = 1`` for a pair and -1 else [1]_.

    Parameters
    ----------
    x, y : Tensor, shape (n, n_outputs)
        Outputs for aligned rows.
    scale, bias : float or Tensor, shape ()
        Of the cosines, on the way to logits.

    Returns
    -------
    Tensor, shape ()
        The sum over all n x n combinations, divided by n.

    References
    ----------
    .. [1] X. Zhai, B. Mustafa, A. Kolesnikov, L. Beyer, "Sigmoid loss for language image
       pre-training", ICCV, 2023.

    Examples
    --------
    >>> import torch
    >>> sigmoid_pair_loss(torch.eye(2), torch.eye(2), scale=10.0, bias=-10.0)
    tensor(0.6932)
    """
    signs = 2 * torch.eye(len(x), dtype=x.dtype, device=x.device) - 1
    return -F.logsigmoid(signs * (scale * cosines(x, y) + bias)).sum() / len(x)


def class_loss(x, y, labels, temperature=0.1):
    """Return the supervised contrastive loss over all four combinations of two views.

    The rows `z` of both views, of unit norm and one above the other, are each to find the others of
    their class in either view [1]_::

        -mean_i mean_{p in P(i)} log( exp(z_i . z_p / t) / sum_{a in A(i)} exp(z_i . z_a / t) )

    `P(i)` are the other rows of the class of row `i`, or those that share one of its labels, and
    `A(i)` all other rows. A row without a label has its partner alone in `P`, and is in `A` of such
    rows only: it may be of any class.

    Parameters
    ----------
    x, y : Tensor, shape (n, n_outputs)
        Outputs for aligned rows.
    labels : Tensor of int, shape (n,), or of bool, shape (n, n_classes)
        Class of each row, below 0 where it is not known; or an indicator of several labels, without
        any where they are not known.
    temperature : float, default=0.1
        Above 0.

    Returns
    -------
    Tensor, shape ()
        At least 0.

    References
    ----------
    .. [1] P. Khosla et al., "Supervised contrastive learning", NeurIPS, 2020.

    Examples
    --------
    >>> import torch
    >>> x = torch.eye(2)
    >>> class_loss(x, x, torch.tensor([0, 1]), temperature=1.0)
    tensor(0.5514)
    """
    rows = F.normalize(torch.cat([x, y]))
    others = ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    known = labelled(labels).repeat(2)
    same = sharing(labels).repeat(2, 2) & known
    partners = torch.eye(len(x), dtype=torch.bool, device=rows.device).repeat(2, 2)
    positives = ((same | partners) & others).to(rows.dtype)
    compared = others & (known | ~known[:, None] | partners)
    logits = (rows @ rows.T / temperature).masked_fill(~compared, -torch.inf)
    log_shares = logits.masked_fill(~compared, 0) - logits.logsumexp(dim=1, keepdim=True)
    return -((positives * log_shares).sum(dim=1) / positives.sum(dim=1)).mean()


def prototype_loss(x, y, labels, prototypes, temperature=0.1):
    """Return the cross entropy of the classes by the cosines to one prototype each.

    Several labels of a row have even shares, see `category_loss`.

    Parameters
    ----------
    x, y : Tensor, shape (n, n_outputs)
        Outputs for aligned rows.
    labels : Tensor of int, shape (n,), or of bool, shape (n, n_classes)
        Class of each row, or an indicator of several labels; rows below 0, or without any, are left
        out.
    prototypes : Tensor, shape (n_classes, n_outputs)
        One for each class, of any length.
    temperature : float, default=0.1
        Above 0.

    Returns
    -------
    Tensor, shape ()
        0 where no row has a label.

    Examples
    --------
    >>> import torch
    >>> prototype_loss(torch.eye(2), torch.eye(2), torch.tensor([0, 1]), torch.eye(2), 1.0)
    tensor(0.3133)
    """
    logits, labels, known = _class_logits(x, y, labels, prototypes, temperature)
    losses = category_loss(logits, labels, reduction="none")
    return (losses * known).sum() / known.sum().clamp_min(1)


def robust_prototype_loss(x, y, labels, prototypes, temperature=0.1):
    """Return the mean of ``log(1 - p)``, `p` the probability of the label by the prototypes.

    Its gradient is proportional to `p`: rows that agree with what has been learnt so far teach
    most, and those whose label is probably wrong hardly at all [1]_. The labels of a row that has
    several are as one whose probability is their sum; a row that has all labels is left out.

    Parameters
    ----------
    x, y, labels, prototypes
        As for `prototype_loss`; there are two classes at least.
    temperature : float, default=0.1
        Above 0.

    Returns
    -------
    Tensor, shape ()
        At most 0, and finite however close to 1 a probability is; 0 where no row has a label.

    References
    ----------
    .. [1] P. Hu, X. Peng, H. Zhu, L. Zhen, J. Lin, "Learning cross-modal retrieval with noisy
       labels", CVPR, 2021.

    Examples
    --------
    >>> import torch
    >>> robust_prototype_loss(torch.eye(2), torch.eye(2), torch.tensor([0, 1]), torch.eye(2), 1.0)
    tensor(-1.3133)
    """
    logits, labels, known = _class_logits(x, y, labels, prototypes, temperature)
    if labels.ndim == 1:
        others = logits.scatter(1, labels[:, None], -torch.inf)
    else:
        known = known & ~labels.all(dim=1)
        others = logits.masked_fill(labels & known[:, None], -torch.inf)
    log_complements = others.logsumexp(dim=1) - logits.logsumexp(dim=1)
    return (log_complements * known).sum() / known.sum().clamp_min(1)


def mixed(views, shares, order):
    """Return convex combinations of rows, the same in all views (mixup of FuseMix).

    Parameters
    ----------
    views : dict of Tensor, shapes (n, ...)
        Aligned rows.
    shares : Tensor, shape (n,)
        Share in [0, 1] of a row in the new row of its place.
    order : Tensor of int, shape (n,)
        Number of the row that has the rest.

    Returns
    -------
    dict of Tensor
        Steps are padding where one of the two rows has padding.

    References
    ----------
    .. [1] N. Vouitsis et al., "Data-efficient multimodal fusion on a single GPU", CVPR, 2024.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[0.0], [4.0]])
    >>> mixed({"audio": rows}, torch.tensor([0.75, 1.0]), torch.tensor([1, 0]))
    {'audio': tensor([[1.],
            [4.]])}
    """
    return {
        name: torch.lerp(rows[order], rows, shares.reshape(-1, *[1] * (rows.ndim - 1)))
        for name, rows in views.items()
    }


def cosines(x, y):
    """Return the cosines of all rows with all rows."""
    return F.normalize(x) @ F.normalize(y).T


def _class_logits(x, y, labels, prototypes, temperature):
    """Return logits and labels of the rows of both views, and which of the labels are known."""
    logits = cosines(torch.cat([x, y]), prototypes) / temperature
    labels = torch.cat([labels, labels])
    known = labelled(labels)
    return logits, labels.clamp_min(0) if labels.ndim == 1 else labels, known
