"""Who can reach what a sweep starts: without a cluster, nobody on another machine."""

from pathlib import Path

import pytest
import yaml
from processes import command_of, descendants

from rlscale.sweeps.store.run_store import RunStore

pytestmark = pytest.mark.ray

_LISTENS = "0A"
#: 127.x.y.z, ::1 and ::ffff:127.x.y.z as the kernel writes them: words of four bytes, lowest first.
_LOOPBACK = ("7F", "00000000000000000000000001000000")


def listening(pids: set[int]) -> dict[str, str]:
    """Addresses on which these processes take TCP connections, and which of them does."""
    owners = {
        link.readlink().name: pid
        for pid in pids
        for link in files_of(pid)
        if link.is_symlink() and link.readlink().name.startswith("socket:")
    }
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENS and (owner := owners.get(f"socket:[{fields[9]}]")):
                found[fields[1]] = command_of(owner)[:80]
    return found


def files_of(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return []


def is_loopback(address: str) -> bool:
    host = address.split(":")[0]
    is_mapped = host.startswith("0000000000000000FFFF0000")
    return host == _LOOPBACK[1] or ((len(host) == 8 or is_mapped) and host.endswith(_LOOPBACK[0]))


def test_a_sweep_without_an_address_listens_on_loopback_alone(start, tmp_path):
    spec = {
        "name": "s",
        "base": {"task": "digits-bandit", "interactions": 400_000, "model": {"width": 0.05}},
        "axes": {"seed": [0]},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    command = start("sweep", "run", tmp_path / "spec.yaml", "--store", tmp_path / "store")

    def is_under_way() -> bool:
        return (tmp_path / "store").exists() and any(RunStore(tmp_path / "store").runs())

    command.until(is_under_way, "the run under way")
    found = listening(descendants({command.process.pid}) | {command.process.pid})
    assert len(found) >= 5, found  # the object of this test is there: GCS, raylet, agents, workers
    assert {address: owner for address, owner in found.items() if not is_loopback(address)} == {}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("0100007F:1F90", True),
        ("0000000000000000FFFF00000100007F:1F90", True),
        ("00000000000000000000000001000000:1F90", True),
        ("00000000:1F90", False),
        ("020200C0:1F90", False),
        ("00000000000000000000000000000000:1F90", False),
        ("0000000000000000FFFF0000020200C0:1F90", False),
    ],
)
def test_loopback_is_distinguished_from_other_addresses(address, expected):
    assert is_loopback(address) == expected
