"""Configurations: presets hold, and what is wrong is said with key, value and remedy."""

from __future__ import annotations

from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import yaml

from royalty.flows.configuration import (
    ConfigError,
    load_config,
    load_detect_config,
    load_distance_config,
    load_memorization_config,
)
from royalty.flows.named_files import check_files
from royalty.flows.preset_files import preset_names
from royalty.flows.starting import started
from royalty.infra.stores.database import open_database
from royalty.infra.stores.runstore import ConfigConflict, RunStore
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.config.sources import CifarSource, FolderSource, OpenmojiSource


def test_presets_load() -> None:
    assert {"by-class", "digits", "planted", "shares", "cifar10", "cifar20"} <= set(preset_names())
    default = load_config(file=None, preset=None, name="mine")
    assert default == load_config(file=None, preset="letters", name="mine")
    assert default.name == "mine"
    assert default.coalitions.sizes == "border"
    assert default.payout.minor_units == 100_000


def test_a_run_pays_only_if_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("payout: {pool: 500.00}\n")
    for file in (None, tmp_path / "mine.yaml"):
        proposing = load_config(file=file, preset=None, name=None)
        assert not proposing.payout.post
        assert not proposing.payout.take_back
        paying = load_config(file=file, preset=None, name=None, pay=True)
        assert paying.payout == proposing.payout.model_copy(update={"post": True})
    deployments = yaml.safe_load((Path(__file__).parent.parent.parent / "prefect.yaml").read_text())["deployments"]
    assert [each["name"] for each in deployments if "post" in str(each["parameters"])] == []


def test_folder_is_looked_up_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "scans.yaml").write_text("data: {source: folder, path: images}\n")
    config = load_config(file=tmp_path / "scans.yaml", preset=None, name=None)
    assert config.name == "scans"
    assert isinstance(config.data, FolderSource)
    assert config.data.path == tmp_path / "images"


@pytest.mark.parametrize(
    ("load", "text", "key"),
    [
        (load_distance_config, "first: a\nsecond: b\n", "second"),
        (load_memorization_config, "train: a\ngenerated: b\nheld_out: c\n", "held_out"),
        (load_detect_config, "train: a\nval: b\n", "val"),
        (load_config, "data: {source: digits}\npayout: {payees: c.csv}\n", "payout.payees"),
    ],
)
def test_every_file_is_looked_up_from_the_configuration_and_told_before_a_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Any, text: str, key: str
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setattr("royalty.infra.servers.session.session", None)
    (tmp_path / "mine.yaml").write_text(text)
    config = load(tmp_path / "mine.yaml", {}) if load is not load_config else load(tmp_path / "mine.yaml")
    (tmp_path / "a").mkdir()  # what is there is not named
    named = attrgetter(key)(config)
    assert named.parent == tmp_path
    with (
        pytest.raises(ConfigError, match=f"`{key}` is {named}, which does not exist.* Name a file or folder"),
        started(None, flow="royalty.flows.credit", works=(), show_progress=False, configs=[config]),
    ):
        pass


def test_a_file_whose_name_is_too_long_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"data: {{source: folder, path: {'a' * 300}}}\n")
    with pytest.raises(ConfigError, match=r"`data.path` is .*aaa, which cannot be read: File name too long"):
        check_files(load_config(tmp_path / "mine.yaml"))


def test_a_place_of_images_is_that_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scans.yaml").write_text("data: {source: folder, path: images}\n")
    monkeypatch.chdir(tmp_path)
    for file, preset in ((tmp_path / "scans.yaml", None), (None, "cifar20")):
        config = load_config(file=file, preset=preset, name=None, data=Path("elsewhere"))
        assert isinstance(config.data, FolderSource | CifarSource)
        assert config.data.path == tmp_path / "elsewhere"
    with pytest.raises(ConfigError, match="pass `--data PATH`, the archive cifar-100"):
        load_config(file=None, preset="cifar20", name=None)
    (tmp_path / "scans.yaml").write_text("seed: 1\n")
    for file, preset in ((tmp_path / "scans.yaml", None), (None, "planted")):
        with pytest.raises(ConfigError, match="come with a package, so `--data elsewhere` does not apply"):
            load_config(file=file, preset=preset, name=None, data=Path("elsewhere"))
    with pytest.raises(
        ConfigError, match="`--data elsewhere` names the images of a configuration; pass `--config FILE`"
    ):
        load_config(file=None, preset=None, name=None, data=Path("elsewhere"))


def test_a_source_that_comes_with_a_package_may_be_given_a_path(tmp_path: Path) -> None:
    packaged = load_config(preset="openmoji").data
    given = load_config(preset="openmoji", data=tmp_path / "openmoji.tgz").data
    assert isinstance(packaged, OpenmojiSource)
    assert isinstance(given, OpenmojiSource)
    assert (packaged.path, given.path) == (None, tmp_path / "openmoji.tgz")


def test_a_later_last_day_is_of_the_same_name(tmp_path: Path) -> None:
    file = tmp_path / "moji.yaml"
    claims = []
    for until in ("2018-12-31", "2020-12-31", "null"):
        file.write_text(f"data: {{source: openmoji, until: {until}}}\n")
        claims.append(load_config(file).claimed())
    assert claims[0] == claims[1] == claims[2]
    assert claims[0]["data"]["least"] == 40
    assert CreditConfig.reread(claims[0]) == claims[0]
    file.write_text("data: {source: openmoji, until: soon}\n")
    with pytest.raises(ConfigError, match=r"`data.until`: input should be a valid date.* \(got 'soon'\)"):
        load_config(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("coalitons: {count: 8}", "unknown key `coalitons`; did you mean `coalitions`"),
        ("data: {source: digits, contributers: 3}", "unknown key `data.contributers`; did you mean `contributors`"),
        ("pruning: {zzz: 3}", "unknown key `pruning.zzz`; remove it"),
        ("generator: {kind: dcgan, block_channels: [8]}", "unknown key `generator.block_channels`"),
        ("generator: {kind: beta-vae}\ncoalitions: {method: influence}", "is a beta-vae; take `sparsified`"),
        ("generator: {kind: dcgan}\ncoalitions: {method: amortized}", "is a dcgan; take `sparsified`"),
        ("coalitions: {method: amortized}", "may be the wrong way round, as only retrained models show"),
        (
            "coalitions: {method: amortized}\nfidelity: {retrain: 9}",
            "retrain: 9` and `fidelity.scaled: false`",
        ),
        (
            "generator: {conditional: true}\ncoalitions: {method: amortized}",
            "this one is `conditional`; take `sparsified`",
        ),
        ("coalitions: {method: amortized, units: images}", "draws sets of images, to which `coalitions.method` as set"),
        ("coalitions: {amortized_steps: 0}", "`coalitions.amortized_steps`"),
        ("coalitions: {method: pooled, units: images}", "draws sets of images, to which `coalitions.method` as set"),
        (
            "generator: {kind: beta-vae}\ndata: {source: folder, path: i, size: 40}",
            "a beta-vae makes images of at most 32 pixels a side; got 40",
        ),
        ("payout: {pool: -1}", r"`payout.pool`: .*greater than or equal to 0 \(got -1\)"),
        ("payout: {pool: '10.005'}", "smallest units of EUR, which has 2 decimals; got 10.005"),
        ("payout: {pool: '10.5', currency: JPY}", "smallest units of JPY, which has 0 decimals; got 10.5"),
        ("payout: {currency: EURO}", r"ISO 4217 code such as EUR \(got 'EURO'\)"),
        ("payout: {pool: much}", "`payout.pool`"),
        ("payout: {policy: equal}", r"`payout.policy`: .*'lower-bound'.*got 'equal'"),
        ("payout: {negative: forgive}", r"`payout.negative`"),
        ("payout: {floor: 0.3, cap: 0.2}", "`floor` is at most `cap`, which is 0.2; got 0.3"),
        ("payout: {cap: 0}", r"`payout.cap`: .*greater than 0 \(got 0\)"),
        ("payout: {minimum: 2.505}", "minimum payment is a whole number of the smallest units of EUR, .* got 2.505"),
        ("payout: {limits: {interval_with: 3}}", "`payout.limits.interval_with`; did you mean `interval_width`"),
        ("payout: {limits: {failed_share: -0.1}}", "`payout.limits.failed_share`"),
        ("coalitions: {count: 7}", r"`coalitions.count`: .*multiple of 2 \(got 7\)"),
        ("data: {source: flickr}", "`data.source`: set the source"),
        ("data: {size: 8}", "`data.source`: set the source"),
        ("folder: images", "unknown key `folder`"),
        ("data: {source: folder, path: x, folder: y}", "unknown key `data.folder`"),
        ("data: {source: folder, path: x, size: 12}\ngenerator: {block_channels: [8, 8, 8, 8]}", "multiple of 8"),
        ("generator: {kind: dpm}", "no generator is called 'dpm'; did you mean ddpm"),
        ("generator: {steps: 0}", "`generator.steps`"),
        ("generator: {gpus: 200}", "`gpus` is at most `batch_size`, which is 128; got 200"),
        ("generator: {kind: dcgan, gpus: 2}", "`gpus` is 1 for a dcgan, which is small; got 2"),
        ("generator: {learning_rate: .inf}", r"`generator.learning_rate`: .*finite number \(got inf\)"),
        ("name: ../escape", "`name`"),
        ("seed: -1", "`seed`"),
        ("generator: {guidance: 2}", "`guidance` is for a `conditional` generator"),
        ("generator: {groups: 5}", "`block_channels` are multiples of `groups`, which is 5; got 16"),
        ("generator: {attention: [2]}", "levels of `block_channels`, 0 to 1; got 2"),
        ("generator: {attention: [0], head_channels: 5}", "multiples of `head_channels`, which is 5; got 16"),
        ("generator: {conditional: true}\ncoalitions: {method: influence}", "influence unlearns .* take `sparsified`"),
        ("sampling: {scheduler: unipcc}", "no scheduler is called 'unipcc'; did you mean unipc"),
        ("pruning: {importance: size}", r"`pruning.importance`: .*'taylor'.*got 'size'"),
        ("", "is empty"),
        ("- a\n- b", "not a mapping"),
        ("data: {source", "cannot be read"),
    ],
)
def test_bad_configuration(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as raised:
        load_config(file=file, preset=None, name=None)
    assert "bad.yaml" in str(raised.value)


def test_unreadable_files_and_unknown_presets(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: f\xfcr")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(file=tmp_path / "latin.yaml", preset=None, name=None)
    with pytest.raises(ConfigError, match="No such file"):
        load_config(file=tmp_path / "absent.yaml", preset=None, name=None)
    for preset, hint in (("cifar-20", "did you mean cifar20"), ("zzz", "there are artbench, by-class, ")):
        with pytest.raises(ConfigError, match=f"no preset is called '{preset}'; {hint}"):
            load_config(file=None, preset=preset, name=None)
    with pytest.raises(ConfigError, match="not both"):
        load_config(file=tmp_path / "a.yaml", preset="digits", name=None)


def test_minor_units_follow_the_currency() -> None:
    assert PayoutConfig(pool=Decimal("12.34")).minor_units == 1234
    assert PayoutConfig(pool=Decimal(500), currency="JPY").minor_units == 500
    assert PayoutConfig(pool=Decimal("1.234"), currency="KWD").minor_units == 1234
    assert PayoutConfig().formatted(123456) == "€1,234.56"


def test_a_name_stands_for_what_it_did_before_there_was_a_setting(tmp_path: Path) -> None:
    config = CreditConfig(name="kept")
    runs = RunStore(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))
    earlier = config.claimed()
    del earlier["generator"]["gpus"], earlier["stopping"]
    runs.claim_name("kept", earlier)
    runs.claim_name("kept", config.claimed(), CreditConfig.reread)
    assert runs.differences("kept", config.claimed(), CreditConfig.reread) == []
    other = CreditConfig.model_validate({"name": "kept", "generator": {"gpus": 2}})
    with pytest.raises(ConfigConflict, match=r"generator\.gpus: was 1, is now 2"):
        runs.claim_name("kept", other.claimed(), CreditConfig.reread)
    assert CreditConfig.reread({"generator": {"kind": "gone"}}) == {"generator": {"kind": "gone"}}


def test_a_name_with_a_relative_file_of_payees_stands_for_the_file_that_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions claimed the path as it was written, and looked it up from the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept.yaml").write_text("data: {source: digits}\npayout: {payees: c.csv}\n")
    config = load_config(tmp_path / "kept.yaml")
    earlier = config.claimed()
    earlier["payout"]["payees"] = "c.csv"
    runs = RunStore(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))
    runs.claim_name("kept", earlier)
    runs.claim_name("kept", config.claimed(), CreditConfig.reread)
