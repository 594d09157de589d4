"""Choose how many coalitions share a GPU, by its memory."""

from __future__ import annotations

from royalty.infra.settings import cores, free_gpu_memory, gpus, settings, use_gpu_memory
from royalty.tasks.config.base import StageConfig
from royalty.tasks.config.credit import CreditConfig


def fit_workers(config: StageConfig) -> None:
    """Set the default number of workers to what the GPUs of this machine hold, unless the environment has set it.

    Elsewhere nothing changes: without a GPU, with workers of a cluster on other machines, and for configurations that
    train no coalitions.
    """
    if not gpus() or not isinstance(config, CreditConfig) or "://" in settings().runner:
        return
    use_gpu_memory(1)
    if free := free_gpu_memory():
        from royalty.models.generators.budget import processes_on_gpu  # with torch, which takes seconds
        from royalty.tasks.credit.expected import coalition_bytes

        use_gpu_memory(processes_on_gpu(free, coalition_bytes(config), cores() // gpus()))
