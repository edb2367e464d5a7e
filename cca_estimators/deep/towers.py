"""Networks that embed the rows of one view: perceptrons, and what reads sequences.

A step of a sequence that is NaN in all features is padding: it never changes an output.
"""

import torch
from torch import nn

from cca_estimators import _ranks

ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "identity": nn.Identity,
}

STEP_TOWERS = ("convolution", "gru", "lstm")
_CONVOLUTION_WIDTH = 96
_RECURRENT_SIZE = 96


class Dropout(nn.Dropout):
    """Dropout which draws from a generator of one's own, if it is given one.

    Attributes
    ----------
    generator : torch.Generator or None
        None: PyTorch's own.
    """

    generator = None

    def forward(self, rows):
        """Return the rows, in training with a share of the units at zero."""
        if not (self.training and self.p):
            return rows
        kept = torch.empty_like(rows).bernoulli_(1 - self.p, generator=self.generator)
        return rows * kept.div_(1 - self.p)


class MLPTower(nn.Sequential):
    """Multilayer perceptron with a linear top.

    Parameters
    ----------
    n_features : int
        Number of features; further dimensions of the input are flattened.
    hidden_layer_sizes : tuple of int
    n_outputs : int
    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
    dropout : float, default=0.0
        Share of the hidden units dropped in training.
    batch_norm : bool, default=True
        Whether to normalise the input and the hidden units over the batch.
    input_norm : bool, default=True
        Whether `batch_norm` is for the input too; False keeps the weights of its features.

    Examples
    --------
    >>> import torch
    >>> tower = MLPTower(6, (20,), n_outputs=4)
    >>> tower(torch.randn(10, 3, 2)).shape
    torch.Size([10, 4])
    """

    def __init__(
        self,
        n_features,
        hidden_layer_sizes,
        n_outputs,
        *,
        activation="relu",
        dropout=0.0,
        batch_norm=True,
        input_norm=True,
    ):
        layers = [nn.Flatten()]
        if batch_norm and input_norm:
            layers.append(nn.BatchNorm1d(n_features))
        for size in hidden_layer_sizes:
            layers.append(nn.Linear(n_features, size))
            if batch_norm:
                layers.append(nn.BatchNorm1d(size))
            layers += [ACTIVATIONS[activation](), Dropout(dropout)]
            n_features = size
        super().__init__(*layers, nn.Linear(n_features, n_outputs))


class StepNorm(nn.BatchNorm1d):
    """Batch normalisation, over the steps that are not padding.

    Parameters
    ----------
    num_features : int
        Number of features of a step.

    Examples
    --------
    >>> import torch
    >>> real = torch.tensor([[True, True], [True, False]])
    >>> steps = torch.tensor([[[1.0], [2.0]], [[3.0], [99.0]]])
    >>> StepNorm(1)(steps, real)[real].squeeze().round(decimals=3)
    tensor([-1.2250,  0.0000,  1.2250], grad_fn=<RoundBackward1>)
    """

    def forward(self, steps, real):
        """Return the steps (n, n_steps, n_features) normalised, `real` the mask (n, n_steps)."""
        if not self.training:
            return torch.addcmul(
                self.bias, steps - self.running_mean, self._scale(self.running_var)
            )
        ranks = _ranks.current()
        weights = real.flatten().to(steps.dtype)
        total = ranks.sum(weights.sum()).clamp_min(1)
        mean = ranks.sum(weights @ steps.flatten(0, 1)) / total
        centred = steps - mean
        variance = ranks.sum(weights @ centred.flatten(0, 1).square()) / total
        self._follow(mean, variance * total / (total - 1).clamp_min(1))
        return torch.addcmul(self.bias, centred, self._scale(variance))

    def _scale(self, variance):
        return self.weight * (variance + self.eps).rsqrt()

    @torch.no_grad()
    def _follow(self, mean, variance):
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


class ConvolutionTower(nn.Module):
    """Convolutions over the steps of a sequence, the means of its quarters, and a perceptron.

    Parameters
    ----------
    n_features : int
        Number of features of a step.
    width : int
        Number of units of each of the two convolutions, which see three steps at a time.
    top : nn.Module
        From the means of the quarters (n, 4 * width) to the outputs.
    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
    dropout : float, default=0.0
        Share of the units dropped after each convolution, in training.

    Examples
    --------
    >>> import torch
    >>> tower = ConvolutionTower(2, 8, top=torch.nn.Linear(4 * 8, 4)).eval()
    >>> rows = torch.randn(10, 6, 2)
    >>> rows[:, 5] = torch.nan
    >>> torch.allclose(tower(rows), tower(rows[:, :5]), atol=1e-5)
    True
    """

    def __init__(self, n_features, width, top, *, activation="relu", dropout=0.0):
        super().__init__()
        self.norm = StepNorm(n_features)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, width, kernel_size=3, padding=1) for size in (n_features, width)
        )
        self.norms = nn.ModuleList(StepNorm(width) for _ in self.convolutions)
        self.activate = nn.Sequential(ACTIVATIONS[activation](), Dropout(dropout))
        self.top = top

    def forward(self, steps):
        """Return the outputs, shape (n, n_outputs), of rows (n, n_steps, n_features)."""
        steps, real = filled(steps)
        mask = real[:, :, None]
        states = self.norm(steps, real) * mask
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            states = convolution(states.transpose(1, 2)).transpose(1, 2)
            states = self.activate(norm(states, real)) * mask
        return self.top(quarters(states, real))


class RecurrentTower(nn.Module):
    """Recurrent network in both directions, the means of the quarters, and a perceptron.

    Parameters
    ----------
    n_features : int
        Number of features of a step.
    size : int
        Number of hidden units in each direction.
    top : nn.Module
        From the means of the quarters (n, 4 * 2 * size) to the outputs.
    cell : {"gru", "lstm"}, default="gru"
    dropout : float, default=0.0
        Share of the states' units dropped in training.

    Examples
    --------
    >>> import torch
    >>> tower = RecurrentTower(2, 8, top=torch.nn.Linear(4 * 2 * 8, 4)).eval()
    >>> rows = torch.randn(10, 6, 2)
    >>> rows[:, 5] = torch.nan
    >>> torch.allclose(tower(rows), tower(rows[:, :5]), atol=1e-5)
    True
    """

    def __init__(self, n_features, size, top, *, cell="gru", dropout=0.0):
        super().__init__()
        kind = {"gru": nn.GRU, "lstm": nn.LSTM}[cell]
        self.norm = StepNorm(n_features)
        self.forwards = kind(n_features, size, batch_first=True)
        self.backwards = kind(n_features, size, batch_first=True)
        self.drop = Dropout(dropout)
        self.top = top

    def forward(self, steps):
        """Return the outputs, shape (n, n_outputs), of rows (n, n_steps, n_features)."""
        steps, real = filled(steps)
        normed = self.norm(steps, real) * real[:, :, None]
        ahead, _ = self.forwards(normed)
        back, _ = self.backwards(reversed_steps(normed, real))
        states = torch.cat([ahead, reversed_steps(back, real)], dim=2)
        return self.top(quarters(self.drop(states), real))


def step_tower(kind, n_features, perceptron, *, activation="relu", dropout=0.0):
    """Return a new tower for sequences.

    Parameters
    ----------
    kind : {"convolution", "gru", "lstm"}
    n_features : int
        Number of features of a step.
    perceptron : callable
        Returns the network on top of a summary of some size.
    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
        Of the convolutions.
    dropout : float, default=0.0
        Share of the units dropped in training.

    Returns
    -------
    nn.Module
    """
    if kind == "convolution":
        top = perceptron(4 * _CONVOLUTION_WIDTH)
        options = {"activation": activation, "dropout": dropout}
        return ConvolutionTower(n_features, _CONVOLUTION_WIDTH, top, **options)
    top = perceptron(4 * 2 * _RECURRENT_SIZE)
    return RecurrentTower(n_features, _RECURRENT_SIZE, top, cell=kind, dropout=dropout)


def n_of_share(share, n_steps):
    """Return the number of steps that a share of them is, rounded up, of a number or a tensor."""
    return -((1e-4 - share * n_steps) // 1)  # of 10 steps 0.7 are 7, not 8 by rounding


def filled(steps):
    """Return steps with zeros in place of padding, and a mask (n, n_steps) of those that are real.

    Rows without steps, shape (n, n_features), become sequences of one step.
    """
    steps = steps[:, None] if steps.ndim == 2 else steps
    real = ~steps.isnan().all(dim=2)
    return steps.masked_fill(~real[:, :, None], 0), real


def reversed_steps(steps, real):
    """Return the real steps in reverse order, and padding, which comes last, in its place."""
    places = torch.arange(steps.shape[1], device=steps.device)
    sources = torch.where(real, real.sum(dim=1, keepdim=True) - 1 - places, places)
    return steps.gather(1, sources[:, :, None].expand_as(steps))


def quarters(states, real):
    """Return the means over each quarter of the real steps, side by side.

    Quarter `q` of `L` steps goes from step ``floor(q L / 4)`` to before ``ceil((q + 1) L / 4)``, so
    that none is empty and the order of the steps survives; a single step is all four.

    Parameters
    ----------
    states : Tensor, shape (n, n_steps, size)
    real : Tensor of bool, shape (n, n_steps)
        False for padding, at the end of a sequence.

    Returns
    -------
    Tensor, shape (n, 4 * size)
        Zeros for a sequence of padding alone.
    """
    lengths = real.sum(dim=1)[:, None, None]
    steps = torch.arange(states.shape[1], device=states.device)
    quarter = torch.arange(4, device=states.device)[:, None]
    first = quarter * lengths // 4
    end = ((quarter + 1) * lengths + 3) // 4
    members = ((first <= steps) & (steps < end)).to(states.dtype)
    shares = members / members.sum(dim=2, keepdim=True).clamp_min(1)
    return (shares @ states).flatten(1)


class SequenceTower(nn.Module):
    """LSTM over the steps of a sequence, a summary of its states, and a perceptron.

    Parameters
    ----------
    n_features : int
        Number of features of a step.
    lstm_size : int
        Number of hidden units of the LSTM.
    n_layers : int
        Number of layers of the LSTM.
    summary : nn.Module
        From states (n, n_steps, lstm_size) and a mask (n, n_steps), True where a step is not
        padding, to a summary (n, size).
    top : nn.Module
        From the summary to the outputs.
    dropout : float, default=0.0
        Share of the units dropped between the layers of the LSTM and after it, in training.

    Examples
    --------
    >>> import torch
    >>> summary = DenseSteps(8, step_size=5, n_steps=3)
    >>> tower = SequenceTower(2, 8, 1, summary, top=torch.nn.Linear(3 * 5, 4)).eval()
    >>> rows = torch.randn(10, 3, 2)
    >>> rows[:, 2] = torch.nan
    >>> torch.allclose(tower(rows), tower(rows[:, :2]), atol=1e-5)
    True
    """

    def __init__(self, n_features, lstm_size, n_layers, summary, top, *, dropout=0.0):
        super().__init__()
        self.norm = StepNorm(n_features)
        between = dropout if n_layers > 1 else 0.0
        self.lstm = nn.LSTM(
            n_features, lstm_size, num_layers=n_layers, dropout=between, batch_first=True
        )
        self.drop = Dropout(dropout)
        self.summary = summary
        self.top = top

    def forward(self, steps):
        """Return the outputs, shape (n, n_outputs), of rows (n, n_steps, n_features).

        Rows without steps, shape (n, n_features), are sequences of one step.
        """
        states, real = self.states(steps)
        return self.top(self.summary(self.drop(states), real))

    def states(self, steps):
        """Return the states (n, n_steps, lstm_size), and a mask of the steps that are real."""
        steps, real = filled(steps)
        normed = self.norm(steps, real) * real[:, :, None]
        return self.lstm(normed)[0], real  # padding comes last, and an LSTM does not look ahead


class DenseSteps(nn.Module):
    """A dense layer at each step, and all steps side by side, zeros for those that are missing.

    Parameters
    ----------
    size : int
        Number of units of a state.
    step_size : int
        Number of units of the dense layer.
    n_steps : int
        Largest number of steps of a sequence.
    """

    def __init__(self, size, step_size, n_steps):
        super().__init__()
        self.dense = nn.Sequential(nn.Linear(size, step_size), nn.Tanh())
        self.n_steps = n_steps

    def forward(self, states, real):
        """Return the summary of states (n, n_steps, size)."""
        if real.shape[1] > self.n_steps and real[:, self.n_steps :].any():
            raise ValueError(
                f"A sequence has {real.sum(dim=1).max()} steps, but the longest in fit had "
                f"{self.n_steps}. Cut it to its first {self.n_steps} steps."
            )
        steps = (self.dense(states) * real[:, :, None])[:, : self.n_steps]
        return nn.functional.pad(steps, (0, 0, 0, self.n_steps - steps.shape[1])).flatten(1)


class AttentionOverSteps(nn.Module):
    """Attention that selects the steps which matter most: they are put side by side, in order.

    The score of a step is ``v' tanh(W h)``. The softmax weights of all but the steps of the highest
    scores are set to zero and the rest divided by their mean. In training the gradient is that of
    the full softmax (straight-through), so that steps left out can still come in.

    Parameters
    ----------
    size : int
        Number of units of a state.
    n_selected : int
        Number of steps to select at most; zeros take the places of those that a sequence lacks.
    share : float in (0, 1], default=1.0
        Share of a sequence's true length to select, rounded up.
    """

    def __init__(self, size, n_selected, share=1.0):
        super().__init__()
        self.share = share
        self.score = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1, bias=False))
        self.n_selected = n_selected

    def weights(self, states, real):
        """Return the softmax weight of each step, shape (n, n_steps), 0 for padding."""
        scores = self.score(states).squeeze(2)
        lowest = torch.finfo(scores.dtype).min
        return scores.masked_fill(~real, lowest).softmax(dim=1) * real

    def select(self, weights, real):
        """Return the numbers of the selected steps, in order, and their weights."""
        n_selected = min(self.n_selected, weights.shape[1])
        highest = weights.topk(n_selected, dim=1).indices
        wanted = n_of_share(self.share, real.sum(dim=1, keepdim=True))
        chosen = torch.arange(n_selected, device=weights.device) < wanted
        order = torch.where(chosen, highest, weights.shape[1]).argsort(dim=1)
        steps = highest.gather(1, order)
        kept = weights.gather(1, steps) * chosen.gather(1, order)
        soft = kept * self.n_selected
        hard = soft / kept.sum(dim=1, keepdim=True).clamp_min(1e-12)
        return steps, hard.detach() + soft - soft.detach() if self.training else hard

    def shares(self, states, real):
        """Return the share of each step in the weights of those selected, shape (n, n_steps)."""
        soft = self.weights(states, real)
        steps, weights = self.select(soft, real)
        return torch.zeros_like(soft).scatter(1, steps, weights / self.n_selected)

    def forward(self, states, real):
        """Return the summary of states (n, n_steps, size)."""
        steps, weights = self.select(self.weights(states, real), real)
        chosen = states.gather(1, steps[:, :, None].expand(-1, -1, states.shape[2]))
        missing = self.n_selected - steps.shape[1]
        return nn.functional.pad(chosen * weights[:, :, None], (0, 0, 0, missing)).flatten(1)
