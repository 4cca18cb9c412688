"""What runs request from nodes: never more than exists, and fewer runs at a time after memory ran out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.scaling.errors import InputError
from rlscale.sweeps.running.demand import Demand, Node, demand_of, slots, with_half_the_concurrency
from rlscale.sweeps.specs.spec import Resources

GB = 1e9
NODES = [Node(4, 0, 16 * GB), Node(2, 1, 8 * GB)]

amounts = st.builds(
    Node,
    st.integers(1, 64).map(float),
    st.integers(0, 8).map(float),
    st.integers(1, 256).map(lambda n: n * GB),
)
demands = st.builds(
    Demand,
    st.sampled_from([0.5, 1.0, 2.0, 8.0]),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.integers(1, 64).map(lambda n: n * GB / 2),
)


def test_a_run_asks_for_its_threads_and_its_estimated_memory_unless_the_spec_says_otherwise(config_of):
    config = config_of(threads=2)
    assert demand_of(config, 3 * GB, Resources(), NODES) == Demand(2, 0, 3 * GB)
    given = Resources(num_cpus=1, num_gpus=0.5, memory="500 MB")
    assert demand_of(config, 3 * GB, given, NODES) == Demand(1, 0.5, 0.5 * GB)


def test_an_estimate_beyond_the_largest_node_is_cut_to_it_and_a_spec_is_not(config_of):
    assert demand_of(config_of(), 99 * GB, Resources(), NODES).memory == 16 * GB
    with pytest.raises(InputError, match=r"asks for 1 CPUs, 0 GPUs and 99 GB, but no node has that"):
        demand_of(config_of(), GB, Resources(memory="99 GB"), NODES)


@pytest.mark.parametrize("resources", [Resources(num_cpus=5), Resources(num_gpus=2)])
def test_what_no_single_node_has_is_refused_though_all_together_have_it(config_of, resources):
    with pytest.raises(InputError, match="no node has that"):
        demand_of(config_of(), GB, resources, NODES)


def test_slots_are_counted_node_by_node():
    assert slots(Demand(1, 0, 4 * GB), NODES) == 4 + 2
    assert slots(Demand(3, 0, GB), NODES) == 1
    assert slots(Demand(1, 0.25, GB), NODES) == 2  # one GPU, but two CPUs beside it
    assert slots(Demand(1, 0, GB), []) == 0


@given(demand=demands, nodes=st.lists(amounts, min_size=1, max_size=4))
def test_after_memory_ran_out_half_as_many_runs_share_a_node(demand, nodes):
    before = max(demand.fits(node) for node in nodes)
    less = with_half_the_concurrency(demand, nodes)
    if before <= 1:
        assert less is None
        return
    fullest = max(nodes, key=demand.fits)
    assert less.fits(fullest) == before // 2
    assert (less.cpus, less.gpus) == (demand.cpus, demand.gpus)
    halvings = 1
    while (next_less := with_half_the_concurrency(less, nodes)) is not None:
        less, halvings = next_less, halvings + 1
        assert halvings < 20
    assert less.fits(max(nodes, key=less.fits)) <= 1


@pytest.mark.parametrize(
    ("written", "bytes_"), [(2_000_000, 2e6), ("4 GB", 4e9), ("1.5GB", 1.5e9), ("250 MB", 2.5e8)]
)
def test_memory_is_written_in_bytes_or_with_a_unit(written, bytes_):
    assert Resources(memory=written).memory == bytes_


@pytest.mark.parametrize("written", ["much", "4 GiB", "4 gb", 0, -1, "0 GB"])
def test_memory_that_is_not_an_amount_is_refused(written):
    with pytest.raises(ValueError, match="memory"):
        Resources(memory=written)
