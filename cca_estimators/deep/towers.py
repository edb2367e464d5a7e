"""Networks that embed the rows of one view: perceptrons, and LSTMs for sequences.

A step of a sequence that is NaN in all features is padding: it never changes an output.
"""

import torch
from torch import nn

ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "identity": nn.Identity,
}


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
    ):
        layers = [nn.Flatten()]
        if batch_norm:
            layers.append(nn.BatchNorm1d(n_features))
        for size in hidden_layer_sizes:
            layers.append(nn.Linear(n_features, size))
            if batch_norm:
                layers.append(nn.BatchNorm1d(size))
            layers += [ACTIVATIONS[activation](), nn.Dropout(dropout)]
            n_features = size
        super().__init__(*layers, nn.Linear(n_features, n_outputs))


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
        self.norm = nn.BatchNorm1d(n_features)
        between = dropout if n_layers > 1 else 0.0
        self.lstm = nn.LSTM(
            n_features, lstm_size, num_layers=n_layers, dropout=between, batch_first=True
        )
        self.drop = nn.Dropout(dropout)
        self.summary = summary
        self.top = top

    def forward(self, steps):
        """Return the outputs, shape (n, n_outputs), of rows (n, n_steps, n_features).

        Rows without steps, shape (n, n_features), are sequences of one step.
        """
        steps = steps[:, None] if steps.ndim == 2 else steps
        real = ~steps.isnan().all(dim=2)
        normed = torch.zeros_like(steps)
        normed[real] = self.norm(steps[real])
        states, _ = self.lstm(normed)  # padding comes last, and an LSTM does not look ahead
        return self.top(self.summary(self.drop(states), real))


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
        if real[:, self.n_steps :].any():
            raise ValueError(
                f"A sequence has {real.sum(dim=1).max()} steps, but the longest in fit had "
                f"{self.n_steps}. Cut it to its first {self.n_steps} steps."
            )
        steps = (self.dense(states) * real[:, :, None])[:, : self.n_steps]
        return nn.functional.pad(steps, (0, 0, 0, self.n_steps - steps.shape[1])).flatten(1)


class AttentionOverSteps(nn.Module):
    """Attention that selects the steps which matter most: they are put side by side, in order.

    The score of a step is ``v' tanh(W h)``. The softmax weights of all but the `n_selected`
    highest scores are set to zero and the rest divided by their mean. In training the gradient is
    that of the full softmax (straight-through), so that steps left out can still come in.

    Parameters
    ----------
    size : int
        Number of units of a state.
    n_selected : int
        Number of steps to select; zeros take the places of those that a sequence lacks.
    """

    def __init__(self, size, n_selected):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1, bias=False))
        self.n_selected = n_selected

    def weights(self, states, real):
        """Return the softmax weight of each step, shape (n, n_steps), 0 for padding."""
        scores = self.score(states).squeeze(2)
        lowest = torch.finfo(scores.dtype).min
        return scores.masked_fill(~real, lowest).softmax(dim=1) * real

    def select(self, weights):
        """Return the numbers of the selected steps, in order, and their weights."""
        n_selected = min(self.n_selected, weights.shape[1])
        steps = weights.topk(n_selected, dim=1).indices.sort(dim=1).values
        kept = weights.gather(1, steps)
        soft = kept * self.n_selected
        hard = soft / kept.sum(dim=1, keepdim=True).clamp_min(1e-12)
        return steps, hard.detach() + soft - soft.detach() if self.training else hard

    def forward(self, states, real):
        """Return the summary of states (n, n_steps, size)."""
        steps, weights = self.select(self.weights(states, real))
        chosen = states.gather(1, steps[:, :, None].expand(-1, -1, states.shape[2]))
        missing = self.n_selected - steps.shape[1]
        return nn.functional.pad(chosen * weights[:, :, None], (0, 0, 0, missing)).flatten(1)
