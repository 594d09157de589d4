"""Processes that train one model together, each on a GPU of its own, through Accelerate.

Each draws the same batch from the same seed, takes its share of it, and adds its gradients to those of the others:
what is learned is that of one GPU, but for rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from torch import Tensor, distributed

from royalty.models.base.errors import InputError


def check_gpus(wanted: int) -> None:
    """Refuse more GPUs than there are; without any the processes share the processor.

    Raises:
        InputError: too many, or the package is missing that several take.
    """
    if wanted > 1 and find_spec("accelerate") is None:
        raise InputError("several GPUs take the package accelerate, which is missing; install royalty[gpu]")
    here = torch.cuda.device_count()
    if 0 < here < wanted:
        raise InputError(
            f"`generator.gpus` is at most the number of GPUs that the worker sees; got {wanted}, and it sees {here}. "
            "Lower it, or widen CUDA_VISIBLE_DEVICES"
        )


@contextmanager
def together(processes: int) -> Iterator[None]:
    """Meet the others of some processes that were started together, take the GPU that is this one's, and part.

    Without a GPU they divide the threads of the processor. One process is alone, and nothing happens.
    """
    if processes == 1:
        yield
        return
    from accelerate import PartialState  # which takes a second to import

    on_cpu = not torch.cuda.is_available()
    if on_cpu:
        threads = max(1, torch.get_num_threads() // processes)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # or Accelerate sets threads of its own
        torch.set_num_threads(threads)
    state = PartialState(cpu=on_cpu)
    yield
    state.wait_for_everyone()
    state.destroy_process_group()


def is_first() -> bool:
    """Whether this process is alone, or the first of several: the one that keeps what is made."""
    return _place()[0] == 0


def share_of(batch_size: int) -> range:
    """Positions of a batch that this process takes; all of them if it is alone."""
    index, count = _place()
    return range(index * batch_size // count, (index + 1) * batch_size // count)


def add_up(tensors: Sequence[Tensor]) -> None:
    """Put the sum over processes in place of each of some tensors of one type; nothing happens to one alone."""
    if _place()[1] == 1:
        return
    from accelerate.utils import reduce

    total = reduce(torch.cat([tensor.flatten() for tensor in tensors]), "sum")  # in one message
    for tensor, part in zip(tensors, total.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def _place() -> tuple[int, int]:
    """Index of this process, and how many there are."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()
