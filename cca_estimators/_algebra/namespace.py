"""Devices of PyTorch, which is imported where it is first used."""


def device_name(name):
    """Return the name of a device that is there, for "auto" the fastest.

    Raises
    ------
    ValueError
        If the device is not there.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={name!r} is not there ({str(error).splitlines()[0]}). "
            "A GPU is 'cuda' or, of a Mac, 'mps'. Set device='cpu', or 'auto' for the best."
        ) from error
    return name
