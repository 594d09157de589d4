"""What killed processes leave unfinished is removed by the next that writes there, and nothing that is written now."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from royalty.infra.stores.artifacts import ABANDONED_AFTER, PARTIAL, partial_folder, remove_abandoned, write_whole

FILE = "with partial(folder / 'page.html') as (stream, temporary):"
FOLDER = "with partial_folder(folder) as temporary, (temporary / 'page.html').open('wb') as stream:"


def aged(path: Path) -> None:
    """Let it have been written to more than a day ago."""
    long_ago = time.time() - ABANDONED_AFTER - 60
    os.utime(path, (long_ago, long_ago), follow_symlinks=False)


@pytest.mark.parametrize("writing", [FILE, FOLDER])
def test_what_a_killed_process_leaves_is_removed_by_the_next_and_not_while_it_is_written(
    tmp_path: Path, writing: str
) -> None:
    script = f"""
import sys, time
from pathlib import Path
from royalty.infra.stores.artifacts import partial, partial_folder
folder = Path(sys.argv[1])
{writing}
    stream.write(b"half")
    stream.flush()
    print("writing", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        try:
            assert process.stdout.readline() == "writing\n"
            (left,) = tmp_path.glob(f"{PARTIAL}*")
            aged(left)
            remove_abandoned.cache_clear()
            write_whole(tmp_path / "other.html", b"whole")
            assert left.exists()
        finally:
            process.kill()
    os.utime(left)
    remove_abandoned.cache_clear()  # as in a new process
    write_whole(tmp_path / "other.html", b"whole")
    assert left.exists(), "another machine may be writing it"
    aged(left)
    remove_abandoned.cache_clear()
    with partial_folder(tmp_path):
        assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["other.html"]
    assert (tmp_path / "other.html").read_bytes() == b"whole"


def test_a_link_that_is_named_like_an_unfinished_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"text")
    (tmp_path / f"{PARTIAL}link").symlink_to(tmp_path / "kept")
    aged(tmp_path / f"{PARTIAL}link")
    write_whole(tmp_path / "other.html", b"whole")
    assert (tmp_path / "kept" / "file").read_bytes() == b"text"
