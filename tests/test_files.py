"""Files: whole or not at all, and what is no file stays what it is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from swing.formats.files import check_writable, store


def pieces(*some, error=None):
    yield from some
    if error:
        raise error


def test_all_files_or_none(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("before")
    with pytest.raises(ValueError, match="half-way"):
        store([(one, ["after"]), (two, pieces("x", error=ValueError("half-way")))])
    assert (one.read_text(), os.listdir(tmp_path)) == ("before", ["one"])
    assert store([(one, ["af", b"ter"]), (two, ["x"])]) == [one, two]
    assert (one.read_text(), two.read_text(), len(os.listdir(tmp_path))) == ("after", "x", 2)


def test_a_file_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        store([(tmp_path / "one", ["x"]), (tmp_path / "folder", ["x"])])
    assert os.listdir(tmp_path) == ["folder"]
    nowhere = tmp_path / "no" / "file.json"
    with pytest.raises(OSError, match="No such file") as error:
        store([(nowhere, ["x"])])
    assert error.value.filename == str(nowhere)
    with pytest.raises(OSError, match="a folder that you may write to"):
        check_writable(nowhere)


def test_links_and_pipes_stay_what_they_are(tmp_path):
    file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(file)
    store([(link, ["x"])])
    assert (link.is_symlink(), file.read_text()) == (True, "x")
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    check_writable(pipe)
    store([(pipe, ["through"])])
    assert reader.communicate()[0] == b"through"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="has no such device")
def test_standard_output_is_one_too(tmp_path):
    code = (
        "from swing.formats.files import check_writable, store;"
        "p = '/dev/stdout'; check_writable(p); store([(p, ['x'])])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"x"
    assert os.path.islink("/dev/stdout")
    with open(tmp_path / "shell", "w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "shell").read_text() == "x"
