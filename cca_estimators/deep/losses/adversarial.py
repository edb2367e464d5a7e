"""Losses that make the outputs of two towers indistinguishable, and keep them from collapsing.

All are plain functions of tensors, finite on any batch of at least one row.
"""

import math

import torch
from torch.nn import functional as F


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.scale * gradient, None


def gradient_reversal(x, scale=1.0):
    """Return the input unchanged, and multiply its gradient by ``-scale`` on the way back.

    What follows is trained to minimise a loss, and what comes before to maximise it [1]_: an
    adversary in a single backward pass.

    Parameters
    ----------
    x : Tensor, any shape
        Outputs that the adversary judges.
    scale : float, default=1.0
        At least 0.

    Returns
    -------
    Tensor, shape of `x`
        The same values.

    References
    ----------
    .. [1] Y. Ganin, V. Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML,
       PMLR 37, 1180-1189, 2015.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> (3 * gradient_reversal(x, 0.5)).sum().backward()
    >>> x.grad
    tensor([-1.5000, -1.5000])
    """
    return _Reversal.apply(x, scale)


def reversal_scale(progress):
    """Return the scale of the reversed gradient, ``2 / (1 + exp(-10 p)) - 1``.

    It rises from 0 to 1 in training, so that a classifier that knows nothing yet disturbs nobody.

    Parameters
    ----------
    progress : float in [0, 1]
        Share `p` of the training that is done.

    Returns
    -------
    float
        0 at the beginning, close to 1 at the end.

    Examples
    --------
    >>> [round(reversal_scale(progress), 3) for progress in (0, 0.1, 1)]
    [0.0, 0.462, 1.0]
    """
    return math.tanh(5 * progress)


def modality_loss(logits_x, logits_y):
    """Return the mean log loss of a classifier that tells the views apart.

    ``mean(log(1 + exp(-s_x))) / 2 + mean(log(1 + exp(s_y))) / 2`` for logits `s` of being a row of
    the first view. A classifier at chance has a loss of log 2 [1]_.

    Parameters
    ----------
    logits_x, logits_y : Tensor, any shapes
        Outputs of the classifier for rows of the first and of the second view.

    Returns
    -------
    Tensor, shape ()
        At least 0.

    References
    ----------
    .. [1] B. Wang, Y. Yang, X. Xu, A. Hanjalic, H. Shen, "Adversarial cross-modal retrieval", ACM
       Multimedia, 154-162, 2017.

    Examples
    --------
    >>> import torch
    >>> modality_loss(torch.zeros(3), torch.zeros(3))
    tensor(0.6931)
    """
    return (F.softplus(-logits_x).mean() + F.softplus(logits_y).mean()) / 2


def slope_penalty(logits, rows):
    """Return the mean squared norm of the gradient of a classifier at some rows.

    With it, the game of a classifier of the views and the towers that deceive it comes to rest,
    where it would otherwise go round in circles, or end with the views apart [1]_.

    Parameters
    ----------
    logits : Tensor, shape (n, 1) or (n,)
        Outputs of the classifier, each of its row alone.
    rows : Tensor, shape (n, n_outputs)
        What they stem from, which must require a gradient.

    Returns
    -------
    Tensor, shape ()
        At least 0.

    References
    ----------
    .. [1] L. Mescheder, A. Geiger, S. Nowozin, "Which training methods for GANs do actually
       converge?", ICML, PMLR 80, 3481-3490, 2018.

    Examples
    --------
    >>> import torch
    >>> rows = torch.ones(4, 2, requires_grad=True)
    >>> slope_penalty(rows @ torch.tensor([3.0, 4.0]), rows).detach()
    tensor(25.)
    """
    (slopes,) = torch.autograd.grad(logits.sum(), rows, create_graph=True)
    return slopes.square().sum(dim=1).mean()


def pair_distance(x, y):
    """Return the mean squared Euclidean distance of aligned rows.

    Parameters
    ----------
    x, y : Tensor, shape (n, n_outputs)
        Outputs for aligned rows.

    Returns
    -------
    Tensor, shape ()
        At least 0.

    Examples
    --------
    >>> import torch
    >>> pair_distance(torch.zeros(2, 3), torch.tensor([[1.0, 1, 1], [0, 0, 3]]))
    tensor(6.)
    """
    return (x - y).square().sum(dim=1).mean()


def variance_loss(x, spread=1.0):
    """Return the mean shortfall of the standard deviations of the outputs.

    ``mean_j [spread - std(x_j)]_+`` with ``std = sqrt(var + 1e-4)``, the variance over the batch:
    the variance term of VICReg [1]_. A constant map brings views together and fools any classifier
    of them; this term is what it cannot minimise. Outputs that are exactly constant over the batch
    have no gradient.

    Parameters
    ----------
    x : Tensor, shape (n, n_outputs)
        Outputs for the rows of a batch.
    spread : float, default=1.0
        Standard deviation from which on nothing is gained.

    Returns
    -------
    Tensor, shape ()
        Between 0 and `spread`.

    References
    ----------
    .. [1] A. Bardes, J. Ponce, Y. LeCun, "VICReg: variance-invariance-covariance regularization for
       self-supervised learning", ICLR, 2022.

    Examples
    --------
    >>> import torch
    >>> variance_loss(torch.tensor([[-3.0, 5.0], [3.0, 5.0]]))
    tensor(0.4950)
    """
    deviations = (x.var(dim=0, correction=0) + 1e-4).sqrt()
    return F.relu(spread - deviations).mean()


def covariance_loss(x):
    """Return the squared covariances between the outputs, summed and divided by their number.

    The covariance term of VICReg [1]_: with `variance_loss`, outputs that all tell the same cost as
    much as outputs that tell nothing.

    Parameters
    ----------
    x : Tensor, shape (n, n_outputs)
        Outputs for the rows of a batch.

    Returns
    -------
    Tensor, shape ()
        At least 0.

    References
    ----------
    .. [1] A. Bardes, J. Ponce, Y. LeCun, "VICReg: variance-invariance-covariance regularization for
       self-supervised learning", ICLR, 2022.

    Examples
    --------
    >>> import torch
    >>> covariance_loss(torch.tensor([[-1.0, 2.0], [1.0, -2.0]]))
    tensor(4.)
    """
    x = x - x.mean(dim=0)
    covariance = x.T @ x / len(x)
    return (covariance - covariance.diag().diag()).square().sum() / len(covariance)


def critic_loss(critic, real, fake, penalty=10.0, generator=None):
    """Return the loss of a Wasserstein critic with a gradient penalty (WGAN-GP).

    ``mean D(fake) - mean D(real) + penalty * mean (||grad D(z)|| - 1)^2`` at points `z` drawn
    uniformly between aligned rows [1]_. Only the critic learns from it; a tower learns to pass for
    the other view by ``-critic(fake).mean()``.

    Parameters
    ----------
    critic : callable
        From rows (n, n_outputs) to scores (n,) or (n, 1), each of its row alone (no batch
        normalisation).
    real, fake : Tensor, shape (n, n_outputs)
        Outputs of the view to resemble, and of the view that should resemble it.
    penalty : float, default=10.0
        Weight of the penalty, at least 0.
    generator : torch.Generator, default=None
        Source of the points between; None: PyTorch's own.

    Returns
    -------
    Tensor, shape ()
        Below 0 where real rows score higher, but for the penalty.

    References
    ----------
    .. [1] I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville, "Improved training of
       Wasserstein GANs", NeurIPS, 2017.

    Examples
    --------
    >>> import torch
    >>> real, fake = torch.ones(4, 2), torch.zeros(4, 2)
    >>> critic_loss(lambda rows: rows.sum(dim=1) / 2**0.5, real, fake)
    tensor(-1.4142)
    """
    real, fake = real.detach(), fake.detach()
    options = {"dtype": real.dtype, "device": real.device, "generator": generator}
    share = torch.rand(len(real), 1, **options)
    between = torch.lerp(fake, real, share).requires_grad_()
    (slopes,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    excess = (torch.linalg.vector_norm(slopes, dim=1) - 1).square().mean()
    return critic(fake).mean() - critic(real).mean() + penalty * excess
