"""A cluster that cannot do a run is refused before anything is measured."""

import socket

import pytest

from rlscale.scaling.errors import InputError
from rlscale.sweeps.running.ray_connection import require_cpus, require_nodes


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def test_a_head_that_nobody_listens_for_is_refused_at_once():
    with pytest.raises(InputError, match="cannot be reached") as refusal:
        require_nodes(f"127.0.0.1:{free_port()}")
    assert refusal.value.code == "cluster_unreachable"


def test_what_is_no_place_is_left_to_ray():
    require_nodes(None)
    require_nodes("auto")


@pytest.mark.parametrize(("cpus", "there"), [([], "none"), ([0.0, 0.0], "only 2 without CPUs for runs")])
def test_a_cluster_without_a_node_that_works_is_refused_with_the_command_that_starts_one(cpus, there):
    with pytest.raises(InputError, match=there) as refusal:
        require_cpus("head:6379", cpus)
    assert refusal.value.code == "no_nodes"
    assert str(refusal.value).endswith("start one with: ray start --address=head:6379")
    require_cpus("head:6379", [0.0, 4.0])
