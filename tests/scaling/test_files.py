"""A local file is replaced as a whole or not at all."""

import os
import stat
import subprocess
import sys

import pytest

from rlscale.scaling.errors import InputError
from rlscale.scaling.files import check_output, is_temporary, replacing, write_file, write_output


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    for content in (b"old", b"new"):
        write_file(tmp_path / "file", content)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": content}


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    write_file(tmp_path / "file", b"old")

    def write_half() -> None:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_bytes(b"half")
            assert is_temporary(temporary.name)
            assert (tmp_path / "file").read_bytes() == b"old"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_a_file_in_a_folder_that_does_not_exist_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "nowhere" / "file", b"new")


# -- outputs that a person names ---------------------------------------------------


def test_a_link_is_followed_to_its_file_and_stays_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "link to nothing").symlink_to("new")
    write_output(tmp_path / "link", b"new")
    write_output(tmp_path / "link to nothing", b"made")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "new").read_bytes() == b"made"


def test_a_pipe_gets_the_content_and_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_output(tmp_path / "pipe", b"content")
    assert os.read(reader, 100) == b"content"
    os.close(reader)
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_device_stays_a_device():
    before = os.stat("/dev/null")
    write_output("/dev/null", b"content")
    assert os.path.samestat(os.stat("/dev/null"), before)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_standard_output_in_a_file_gets_the_content_itself(tmp_path):
    code = "from rlscale.scaling.files import write_output; write_output('/dev/stdout', b'content')"
    with open(tmp_path / "out", "wb") as stream:
        subprocess.run([sys.executable, "-c", code], stdout=stream, check=True)
        assert os.path.samestat(os.fstat(stream.fileno()), os.stat(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"content"


def test_a_file_keeps_its_permissions_and_a_new_one_gets_the_usual_ones(tmp_path):
    (tmp_path / "secret").write_bytes(b"old")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "usual").write_bytes(b"")
    for name in ("secret", "new"):
        write_output(tmp_path / name, b"new")
    modes = {name: (tmp_path / name).stat().st_mode for name in ("secret", "new", "usual")}
    assert stat.S_IMODE(modes["secret"]) == 0o600
    assert modes["new"] == modes["usual"]


def test_the_longest_name_can_be_written(tmp_path):
    for name in ("n" * 255, "ü" * 127):
        write_output(tmp_path / name, b"content")
        assert (tmp_path / name).read_bytes() == b"content"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_temporary_file_is_never_somebody_elses(tmp_path):
    with replacing(tmp_path / "file") as one, replacing(tmp_path / "file") as other:
        assert one != other
        assert one.exists()
        assert other.exists()
        for each in (one, other):
            each.write_bytes(b"content")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (".", "is a folder; name the file to write"),
        ("nowhere/file", "there is no folder .*nowhere; create it first"),
        ("file/below", "Not a directory"),
        ("n" * 256, "File name too long"),
        ("a\0b", "it has a NUL in it"),
        ("loop", "Too many levels of symbolic links"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_sentence_before_the_work(tmp_path, name, problem):
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "loop").symlink_to("loop")
    for refuse in (check_output, lambda path: write_output(path, b"content")):
        with pytest.raises(InputError, match=problem) as caught:
            refuse(f"{tmp_path}/{name}")
        assert caught.value.code == "unwritable_file"
        assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"kept"
