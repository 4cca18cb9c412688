"""A local file is replaced as a whole or not at all."""

import pytest

from rlscale.scaling.files import is_temporary, replacing, write_file


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
