"""Data-parallel training of one model by several processes, one per GPU, with Accelerate.

Every process draws the same batch from the same seed and computes the gradients of its part; the gradients are summed.
Up to rounding, the result equals that of one GPU.
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
    """Check the number of GPUs; on a machine without GPUs, processes share the CPU.

    Raises:
        InputError: more GPUs than the machine has, or accelerate is not installed.
    """
    if wanted > 1 and find_spec("accelerate") is None:
        raise InputError("several GPUs need the package accelerate, which is not installed; install royalty[gpu]")
    visible = torch.cuda.device_count()
    if 0 < visible < wanted:
        raise InputError(
            f"`generator.gpus` is at most the number of GPUs that the worker sees; got {wanted}, and it sees {visible}"
            ". Lower it, or widen CUDA_VISIBLE_DEVICES"
        )


@contextmanager
def together(processes: int) -> Iterator[None]:
    """Join the process group and select this process's GPU; on exit, wait for the others and leave the group.

    Without GPUs the processes divide the threads of the CPU. With one process it does nothing.
    """
    if processes == 1:
        yield
        return
    from accelerate import PartialState  # takes a second to import

    on_cpu = not torch.cuda.is_available()
    if on_cpu:
        threads = max(1, torch.get_num_threads() // processes)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # otherwise Accelerate sets the number of threads
        torch.set_num_threads(threads)
    state = PartialState(cpu=on_cpu)
    yield
    state.wait_for_everyone()
    state.destroy_process_group()


def is_first() -> bool:
    """Whether this process is the only one or the first of several; that process saves the results."""
    return _place()[0] == 0


def share_of(batch_size: int) -> range:
    """Positions of a batch that this process handles; all of them in a single process."""
    index, count = _place()
    return range(index * batch_size // count, (index + 1) * batch_size // count)


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over processes, in place; all have one type. A single process does nothing."""
    if _place()[1] == 1:
        return
    from accelerate.utils import reduce

    total = reduce(torch.cat([tensor.flatten() for tensor in tensors]), "sum")  # one message for all
    for tensor, part in zip(tensors, total.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def _place() -> tuple[int, int]:
    """Index of this process, and the number of processes."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()
