"""What each step of a sequence adds to its embedding, by the gradient."""

import numpy as np
import torch

from cca_estimators.deep.training.draws import own_modes


class StepGradients:
    """What a deep estimator of a real embedding knows about the steps of its rows."""

    def _step_effects(self, name, rows, directions):
        """Return what each step adds to the embeddings along a direction, to first order.

        It is the gradient by what enters the tower times that, where zero is the average step.

        Parameters
        ----------
        name : str
            Name of the view.
        rows : array-like, shape (n, n_steps, n_features)
        directions : ndarray, shape (n, n_components)

        Returns
        -------
        ndarray, shape (n, n_steps)
            Zeros where a step is padding.
        """
        tower = self.net_.module_.tower(name).eval()
        effects, start = [], 0
        with own_modes(self.net_.device), torch.backends.cudnn.flags(enabled=False):
            slopes = torch.from_numpy(directions @ self._head_slopes(name)).float()
            for inputs in self._tower_inputs(name, rows):
                self._check_are_steps(inputs, rows)
                inputs.requires_grad_()
                along = slopes[start : start + len(inputs)].to(inputs.device)
                (gradient,) = torch.autograd.grad((tower(inputs) * along).sum(), inputs)
                effects.append((gradient * inputs).nansum(dim=2).numpy(force=True))
                start += len(inputs)
        return np.concatenate(effects)

    def _head_slopes(self, name):
        """Return the derivatives of the embedding by the outputs: the head is linear."""
        if self.head_ is None:
            return np.eye(self.n_components_)
        n_outputs = len(self.head_.weights_[name])
        unit, zero = (
            self.head_.transform({name: rows})[name]
            for rows in (np.eye(n_outputs), np.zeros((1, n_outputs)))
        )
        return (unit - zero).T

    def _check_are_steps(self, inputs, rows):
        if not inputs.is_floating_point() or tuple(inputs.shape[1:]) != tuple(rows.shape[1:]):
            raise ValueError(
                f"The towers of {type(self).__name__} read {tuple(inputs.shape[1:])} numbers that "
                f"are made of rows of shape {tuple(rows.shape[1:])}, and know no steps. Take "
                "Contrastive, LSTMCCCA or SDCCA."
            )
