"""Documentation of the parameters and attributes that all deep estimators share.

It is put into the docstrings where a class is made. Written out it would be forty lines in each of
the methods, which drift apart; what reads the classes (`help`, Sphinx, numpydoc's validation, an
editor at run time) sees the whole text, and only who reads the source sees ``{parameters}`` and
comes here. A test compares the parameters and defaults of every docstring with its signature.
"""

from dataclasses import fields

HEAD_PARAMETERS = """reg : float, "auto" or dict, default="auto"
        Ridge of the linear method fitted beside the towers, see :class:`~cca_estimators.CCA`.
    weighted : bool, default=True
        Whether that method multiplies each variate by its canonical correlation."""

HEAD_ATTRIBUTES = """head_ : estimator or None
        The linear method fitted on the outputs of the towers."""

PARAMETERS = """hidden_layer_sizes : int or tuple of int, default={hidden_layer_sizes}
        Units of the hidden layers of the towers.
    activation : {"relu", "tanh", "logistic", "identity"}, default={activation}
        Activation of the hidden layers.
    dropout : float in [0, 1), default={dropout}
        Share of the hidden units dropped in training.
    batch_norm : bool, default={batch_norm}
        Whether to normalise inputs and hidden units over the batch.
    tower : {"auto", "perceptron", "convolution", "gru", "lstm"}, default="auto"
        Network of views with steps, shape (n_samples, n_steps, n_features), see the :ref:`User
        Guide <towers>`; "auto": the method's own. All but the perceptron take steps that are NaN in
        all features, at the end of a sequence, for padding, and sequences of any length. Views
        without steps, and variates, have a perceptron.
    towers : dict of torch.nn.Module, default=None
        Networks of one's own by view name, which get a copy each time they are trained: from a
        float32 tensor of rows, in the shape that X has, to (n, n_outputs); integers reach a network
        with an :class:`torch.nn.Embedding` as int64. None: the default ones.
    batch_size : int, default={batch_size}
        Largest number of rows of a batch. All batches of an epoch are of one size, and the rows
        left over, fewer than there are batches, are others in each epoch.
    max_epochs : int, default={max_epochs}
        Number of passes over the data.
    learning_rate : float, default={learning_rate}
        Step size of the optimiser, AdamW.
    weight_decay : float, default={weight_decay}
        Weight decay of the optimiser.
    early_stopping : bool, "loss" or "map", default=False
        Hold out some rows, end training when their loss, or MAP (True means this), has not
        improved for `n_iter_no_change` epochs, and return to the best epoch. Rows that belong
        together, such as clips of one video, are held out together if `fit` is given `groups`; if
        it is given `X_val` and `y_val`, those rows are watched, see the :ref:`User Guide
        <early_stopping>`.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows held out, if `early_stopping`; of whole groups, the nearest there is.
    n_iter_no_change : int, default=10
        Epochs without improvement to wait for, if `early_stopping`.
    device : str or torch.device, default="auto"
        Device of PyTorch to train on; "auto": "cuda" or "mps" where there is one, else "cpu".
    callbacks : list, default=None
        Callbacks of skorch: learning rate schedules, checkpoints, logging.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, batches and dropout. Global generators are left as they are.
    verbose : bool or int, default=0
        1: show a progress bar over the epochs, with the loss and validation figures; 2: print them
        line by line, with the seconds of each epoch, and a star where the MAP was best so far.
    warm_start : bool, default=False
        Whether a further `fit` goes on from the weights there are, with the views, classes and
        networks it began with; step size, weight decay and batch size may change.
    view_split : int, default=None
        Number of leading columns that form the first view, if X is one array; None: half.
    standardize : bool or "auto", default="auto"
        Whether to shift and scale each feature, in float64, by its mean and standard deviation over
        the rows of `fit`, or of the first `partial_fit`; "auto": unless there are own `towers`. Of
        sequences, over their steps too.
    checkpoint : str or path-like, default=None
        Folder for one file per fit, written after each epoch and deleted when the fit is complete:
        the same fit, with the same integer as `random_state`, called again after its process died
        goes on from it, and gives what it would have given. Schedules and early stopping among
        `callbacks` go on where they were; other callbacks start afresh.
    sharded : bool, default=False
        Whether the processes of :mod:`torch.distributed`, each of which gives `fit` rows of its
        own, train one model together, see the :ref:`User Guide <several_processes>`. `batch_size`
        is that of all of them together."""

ATTRIBUTES = """net_ : skorch.NeuralNet
        The trained net: ``net_.module_.tower(name)`` is the network of a view.
    history_ : list of dict
        Losses and other figures of each epoch.
    best_epoch_ : int
        Number, from 1, of the epoch that the weights are of: the best one where rows were held out,
        else the last.
    means_, scales_ : dict of ndarray of shape (n_features,)
        By view name, what its features are shifted and scaled by; empty if they are not.
    n_components_ : int
        Number of dimensions of the embedding.
    view_names_in_ : list of str
        Names of the views; "first" and "second" if X was one array.
    n_features_in_ : int, or dict of int by view name
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of str, or dict of them by view name
        Names of the features, if X was one DataFrame or held some; `transform` checks them."""


def documented(cls):
    """Fill the shared parts of the docstring of an estimator, with the defaults of the class."""
    for name, text in (
        ("{head_parameters}", HEAD_PARAMETERS),
        ("{head_attributes}", HEAD_ATTRIBUTES),
        ("{parameters}", PARAMETERS),
        ("{attributes}", ATTRIBUTES),
    ):
        cls.__doc__ = cls.__doc__.replace(name, text)
    for parameter in fields(cls):
        default = f"{parameter.default!r}".replace("'", '"')
        cls.__doc__ = cls.__doc__.replace(f"={{{parameter.name}}}", f"={default}")
    return cls
