"""Losses of hash codes: towards bits and class codes, and by ranking with drawn negatives.

All are plain functions of tensors, averaged over rows, so that weights mean the same for every
batch size.
"""

import torch
from torch.nn import functional as F

from cca_estimators import _ranks
from cca_estimators.deep.losses.labels import members_of


def quantisation_loss(h):
    """Return the mean squared distance of continuous codes to their signs.

    Parameters
    ----------
    h : Tensor, shape (n, n_bits)
        Codes in (-1, 1).

    Returns
    -------
    Tensor, shape ()
        Between 0 and 1.

    Examples
    --------
    >>> import torch
    >>> quantisation_loss(torch.tensor([[0.5, -0.5, 1.0, -1.0]]))
    tensor(0.1250)
    """
    return (h - h.detach().sign()).square().mean()


def saturation_loss(h):
    """Return the mean of ``1 / (1 + exp(cos(|h|, 1)))``.

    Least where the bits of a code are equally sure: it turns codes towards the corners of the cube,
    whatever their length [1]_.

    Parameters
    ----------
    h : Tensor, shape (n, n_bits)
        Codes in (-1, 1).

    Returns
    -------
    Tensor, shape ()
        Between ``1 / (1 + e)`` and 1 / 2.

    References
    ----------
    .. [1] W. Gu, X. Gu, J. Gu, B. Li, Z. Xiong, W. Wang, "Adversary guided asymmetric hashing for
       cross-modal retrieval", ICMR, 159-167, 2019.

    Examples
    --------
    >>> import torch
    >>> saturation_loss(torch.tensor([[0.1, -0.1], [1.0, 1.0]]))
    tensor(0.2689)
    """
    return torch.sigmoid(-F.cosine_similarity(h.abs(), torch.ones_like(h))).mean()


def code_map_loss(h, code_map, labels):
    """Return the mean of ``(h M' - K (2 L - 1))^2``: near the codes of labels, far from rest.

    Parameters
    ----------
    h : Tensor, shape (n, n_bits)
        Codes in (-1, 1); `K` is their number of bits.
    code_map : Tensor, shape (n_classes, n_bits)
        Code `M` of each class, of -1 and 1.
    labels : Tensor of int, shape (n,), or of bool, shape (n, n_classes)
        Class of each row, or an indicator of several labels; `L` is 1 there and 0 elsewhere.

    Returns
    -------
    Tensor, shape ()
        At least 0.

    Examples
    --------
    >>> import torch
    >>> code_map = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    >>> code_map_loss(code_map, code_map, torch.tensor([0, 1]))
    tensor(0.)
    """
    return (h @ code_map.T - h.shape[1] * _signs(labels, code_map)).square().mean()


def update_code_map(code_map, codes, labels):
    """Return better codes of the classes, by one sweep of discrete coordinate descent.

    Each bit in turn takes the value, in all classes, that minimises ``||B M' - K (2 L - 1)||^2``
    given the other bits of `M`; a bit without influence stays. The objective never rises [1]_. In
    a sharded fit each rank has rows of its own, and the sums are those over all of them.

    Parameters
    ----------
    code_map : Tensor, shape (n_classes, n_bits)
        Codes `M` of -1 and 1.
    codes : Tensor, shape (n, n_bits)
        Codes `B` of all rows, of both views one below the other.
    labels : Tensor of int, shape (n,), or of bool, shape (n, n_classes)
        Class of each row, or an indicator of several labels.

    Returns
    -------
    Tensor, shape (n_classes, n_bits)
        Codes of -1 and 1.

    References
    ----------
    .. [1] F. Shen, C. Shen, W. Liu, H. Shen, "Supervised discrete hashing", CVPR, 37-45, 2015.

    Examples
    --------
    >>> import torch
    >>> codes = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    >>> update_code_map(torch.ones(2, 2), codes, torch.tensor([0, 1]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    ranks = _ranks.current()
    targets = ranks.sum(codes.shape[1] * _signs(labels, code_map).T @ codes)
    gram = ranks.sum(codes.T @ codes)
    code_map = code_map.clone()
    for bit in range(codes.shape[1]):
        others = code_map @ gram[:, bit] - code_map[:, bit] * gram[bit, bit]
        best = torch.sign(targets[:, bit] - others)
        code_map[:, bit] = torch.where(best == 0, code_map[:, bit], best)
    return code_map


def ranking_hinges(query, positive, negative, margin):
    """Return ``[margin + ||q - p||^2 - ||q - n||^2]_+`` of each triplet.

    Their mean is the loss of the discriminator of UGACH, and their sigmoid the reward of the
    generator that draws the negatives [1]_.

    Parameters
    ----------
    query, positive, negative : Tensor, shapes (..., n_bits) that broadcast
        Continuous codes.
    margin : float
        The authors take an eighth of the number of bits.

    Returns
    -------
    Tensor, shape (...)
        At least 0.

    References
    ----------
    .. [1] J. Zhang, Y. Peng, M. Yuan, "Unsupervised generative adversarial cross-modal hashing",
       AAAI, 539-546, 2018, arXiv:1712.00358.

    Examples
    --------
    >>> import torch
    >>> query = torch.zeros(2, 4)
    >>> ranking_hinges(query, query, torch.tensor([[0.0, 0, 0, 0], [1, 1, 0, 0]]), margin=0.5)
    tensor([0.5000, 0.0000])
    """
    nearness = (query - positive).square().sum(dim=-1) - (query - negative).square().sum(dim=-1)
    return F.relu(margin + nearness)


def draw(weights, n_draws, generator=None):
    """Draw columns for each row by their weights, with replacement.

    As `torch.multinomial`, which asks the device for its answer, and on CUDA ends the process where
    a weight is not finite; here any columns are drawn then.

    Parameters
    ----------
    weights : Tensor, shape (n, m)
        At least 0, not all of them 0.
    n_draws : int
    generator : torch.Generator, default=None
        Source of the draws; None: PyTorch's own.

    Returns
    -------
    Tensor of int, shape (n, n_draws)

    Examples
    --------
    >>> import torch
    >>> draw(torch.tensor([[0.0, 1.0, 0.0], [3.0, 0.0, 0.0]]), 2)
    tensor([[1, 1],
            [0, 0]])
    """
    bounds = weights.cumsum(dim=1)
    options = {"dtype": weights.dtype, "device": weights.device, "generator": generator}
    places = bounds[:, -1:] * torch.rand(len(weights), n_draws, **options)
    return torch.searchsorted(bounds, places, right=True).clamp_max(weights.shape[1] - 1)


def policy_gradient_loss(scores, drawn, rewards):
    """Return a loss whose gradient is that of minus the expected reward (REINFORCE).

    ``-mean (r - b) log softmax(scores)[drawn]``, the softmax over all candidates of a query. The
    baseline `b` of a draw is the mean reward of all other draws of the batch, which leaves the
    gradient unbiased and makes it less noisy [1]_, [2]_. Draws must be independent, with
    replacement, by that softmax.

    Parameters
    ----------
    scores : Tensor, shape (n, n_candidates)
        Logits by which the candidates of each query are drawn.
    drawn : Tensor of int, shape (n, n_draws)
        Candidates that were drawn.
    rewards : Tensor, shape (n, n_draws)
        Reward of each draw; taken as given.

    Returns
    -------
    Tensor, shape ()
        Its gradient counts; its value says nothing.

    References
    ----------
    .. [1] R. J. Williams, "Simple statistical gradient-following algorithms for connectionist
       reinforcement learning", Machine Learning 8, 229-256, 1992.
    .. [2] W. Kool, H. van Hoof, M. Welling, "Buy 4 REINFORCE samples, get a baseline for free!",
       ICLR workshop on deep reinforcement learning meets structured prediction, 2019.

    Examples
    --------
    >>> import torch
    >>> scores = torch.zeros(1, 2, requires_grad=True)
    >>> loss = policy_gradient_loss(scores, torch.tensor([[0, 1]]), torch.tensor([[1.0, 0.0]]))
    >>> loss.backward()
    >>> scores.grad  # the score of the candidate with the reward should rise
    tensor([[-0.5000,  0.5000]])
    """
    rewards = rewards.detach()
    others = max(rewards.numel() - 1, 1)
    baselines = (rewards.sum() - rewards) / others
    log_probabilities = scores.log_softmax(dim=1).gather(1, drawn)
    return -((rewards - baselines) * log_probabilities).mean()


def _signs(labels, code_map):
    """Return 1 at the labels of each row and -1 elsewhere, shape (n, n_classes)."""
    return 2 * members_of(labels, len(code_map)).to(code_map.dtype) - 1
