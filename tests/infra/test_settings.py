"""Where state lives."""

from __future__ import annotations

import pytest

from infra.settings import settings


def test_a_worker_keeps_nothing_in_the_passing_folder_of_a_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "b6f7c1a0-5d0f-4a54-9b0e-0a8f2f3c1d2e")
    monkeypatch.delenv("ROYALTY_HOME", raising=False)
    settings.cache_clear()
    with pytest.raises(ValueError, match=r"ROYALTY_HOME has to be an absolute path; got '\.royalty'"):
        settings()
    monkeypatch.setenv("ROYALTY_HOME", "/srv/royalty")
    assert str(settings().root) == "/srv/royalty"
    settings.cache_clear()
