"""Where state lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from royalty.infra.settings import Settings, cores, settings


def test_a_worker_keeps_nothing_in_the_passing_folder_of_a_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "b6f7c1a0-5d0f-4a54-9b0e-0a8f2f3c1d2e")
    monkeypatch.delenv("ROYALTY_HOME", raising=False)
    settings.cache_clear()
    with pytest.raises(ValueError, match=r"ROYALTY_HOME must be an absolute path, got '\.royalty'"):
        settings()
    monkeypatch.setenv("ROYALTY_HOME", "/srv/royalty")
    assert str(settings().root) == "/srv/royalty"
    settings.cache_clear()


@pytest.mark.parametrize(("visible", "workers"), [(None, 3), ("0,2", 2), ("", cores()), ("-1", cores())])
def test_one_worker_a_gpu_or_a_core(
    visible: str | None, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROYALTY_WORKERS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("royalty.infra.settings.GPUS", tmp_path / "gpus")
    assert Settings().workers == Settings().readers == cores()
    for place in range(3):
        (tmp_path / "gpus" / f"0000:{place}").mkdir(parents=True)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    own = Settings()
    assert (own.workers, own.readers, own.threads) == (workers, cores(), max(1, cores() // workers))
    assert Settings(workers=1).readers == 1
