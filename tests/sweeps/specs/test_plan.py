"""What a sweep would do and what it has done, from spec and store alone."""

from pathlib import Path

import pytest
from rich.console import Console

from rlscale.scaling.costs.measure import Measured
from rlscale.scaling.costs.memory import MemoryNeed
from rlscale.sweeps.running.missing import to_do
from rlscale.sweeps.running.status import SweepReader, counts, sweep_status
from rlscale.sweeps.specs.plan import plan_sizes
from rlscale.sweeps.specs.spec import expand, parse_spec
from rlscale.terminal.curves import curves_table
from rlscale.terminal.plan import memory_note, plan_table
from rlscale.terminal.sweep import status_json, status_notes, status_table

NEED = MemoryNeed(*[1] * 7)
BASE = {"task": "digits-bandit", "interactions": 1000}


def spec(axes):
    return parse_spec({"name": "s", "base": BASE, "axes": axes}, source="s.yaml")


def save(store, wanted) -> tuple:
    store.write_spec("s", wanted.model_dump(mode="json"))
    return expand(wanted)


def text(*parts, columns=80) -> str:
    console = Console(width=columns, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for part in parts:
        console.print(part)
    return console.export_text()


@pytest.fixture
def begin(store, claim, rows_of):
    """Claim the run of a config and store ten of its rows, up to 1000 interactions."""

    def make(config, rows=10):
        writer = claim(
            store, config.run_id, config=config.model_dump(mode="json"), columns={"num_params": 1488}
        )
        if rows:
            writer.write_segment(
                0, rows_of(0, rows), b"state", interactions=100 * rows, wall_seconds=0.1 * rows
            )
        return writer

    return make


def test_nothing_stored_means_everything_is_to_do(store):
    configs = save(store, spec({"seed": [0, 1, 2]}))
    assert to_do(configs, store, "s") == (list(configs), [])
    assert counts(sweep_status(store, "s")) == {
        "total": 3, "done": 0, "running": 0, "failed": 0, "stopped": 0, "wanted": 3,
        "paused": 0, "interrupted": 0,
    }  # fmt: skip


def test_only_done_and_failed_runs_are_left_alone(store, begin):
    done, failed, stopped, running, wanted = configs = save(store, spec({"seed": [0, 1, 2, 3, 4]}))
    begin(done).finish()
    begin(failed).fail("policy_loss is nan")
    begin(stopped, 5).stop("asked to")
    begin(running, 5)
    missing, failures = to_do(configs, store, "s")
    assert missing == [stopped, running, wanted]
    assert [(record.run_id, record.reason) for record in failures] == [(failed.run_id, "policy_loss is nan")]
    assert counts(sweep_status(store, "s")) == {
        "total": 5, "done": 1, "running": 1, "failed": 1, "stopped": 1, "wanted": 1,
        "paused": 0, "interrupted": 0,
    }  # fmt: skip


def test_one_listing_gives_the_same_as_reading_every_record(store, begin, claim):
    configs = save(store, spec({"seed": list(range(9))}))
    begin(configs[0]).finish()
    begin(configs[1]).fail("policy_loss is nan")
    begin(configs[2], 5).stop("asked to")
    begin(configs[3], 5)
    begin(configs[4], 0)
    finished = begin(configs[5])
    finished.finish()
    Path(
        store.location, "sweep=s", f"run={configs[5].run_id}", "run.json"
    ).unlink()  # a death right before it
    store.mark(begin(configs[6]).record, "failed", "its worker was killed")
    claim(store, "of-another-spec").finish()
    missing, failed = to_do(configs, store, "s")
    records = {config: store.read_run("s", config.run_id) for config in configs}
    status = {config: record.status if record else "wanted" for config, record in records.items()}
    assert missing == [config for config in configs if status[config] not in ("done", "failed")]
    assert failed == [record for record in records.values() if record and record.status == "failed"]
    assert [config.seed for config in missing] == [2, 3, 4, 7, 8]
    assert [record.run_id for record in failed] == [configs[1].run_id, configs[6].run_id]


def test_status_knows_share_rate_and_time_left(store, begin):
    running, done, wanted = save(store, spec({"seed": [0, 1, 2]}))
    begin(running, 4)
    begin(done).finish()
    statuses = {status.run_id: status for status in sweep_status(store, "s")}
    assert statuses[running.run_id].share == pytest.approx(0.4)
    assert statuses[running.run_id].rate == pytest.approx(1000.0)
    assert statuses[running.run_id].seconds_left == pytest.approx(0.6)
    assert statuses[running.run_id].seconds_since_update >= 0
    assert statuses[done.run_id].share == 1.0
    assert statuses[done.run_id].seconds_left == 0.0
    assert (statuses[wanted.run_id].share, statuses[wanted.run_id].rate) == (0.0, None)


def test_a_changed_spec_has_new_runs_and_the_old_ones_stay_and_are_shown(store, begin):
    (old,) = save(store, spec({"seed": [0]}))
    begin(old).finish()
    new = save(store, spec({"seed": [0], "learning_rate": [1e-3, 1e-4]}))
    assert to_do(new, store, "s") == (list(new), [])
    statuses = {status.run_id: status.status for status in sweep_status(store, "s")}
    assert statuses == {old.run_id: "done", **{config.run_id: "wanted" for config in new}}
    assert store.read_curve("s", old.run_id).num_rows == 10


def test_more_values_on_an_axis_leave_only_the_new_runs_to_do(store, begin):
    for config in save(store, spec({"width": [0.05, 0.1], "seed": [0]})):
        begin(config).finish()
    configs = save(store, spec({"width": [0.05, 0.1, 0.2], "seed": [0, 1]}))
    missing, _ = to_do(configs, store, "s")
    assert {(config.model.width, config.seed) for config in missing} == {
        (0.05, 1),
        (0.1, 1),
        (0.2, 0),
        (0.2, 1),
    }


def test_a_sweep_that_only_has_single_runs_is_shown_without_a_spec(store, begin, config_of):
    begin(config_of()).finish()
    assert [status.status for status in sweep_status(store, "s")] == ["done"]


def test_status_for_machines_has_whole_ids_reasons_and_attempts(store, begin):
    failed, wanted = save(store, spec({"seed": [0, 1]}))
    begin(failed).fail("policy_loss is nan")
    value = status_json(SweepReader(store, "s").read_state())
    assert value["counts"]["failed"] == 1
    runs = {run["run_id"]: run for run in value["runs"]}
    assert runs[failed.run_id]["reason"] == "policy_loss is nan"
    assert runs[failed.run_id]["attempts"] == 1
    assert runs[failed.run_id]["interactions"] == 1000
    assert runs[wanted.run_id]["config"]["seed"] == 1
    assert runs[wanted.run_id]["interactions_per_second"] is None


def test_a_plan_groups_runs_that_differ_in_seed_alone():
    configs = expand(spec({"width": [0.05, 0.1], "interactions": [1000, 3000], "seed": [0, 1, 2]}))
    columns = {0.05: 10.0, 0.1: 20.0}
    sizes = plan_sizes(
        configs,
        lambda config: Measured(
            {"flops_per_interaction": columns[config.model.width], "num_params": 7}, NEED, 2.0
        ),
    )
    assert [(s.config.model.width, s.config.interactions, s.num_runs, s.flops, s.seconds) for s in sizes] == [
        (0.05, 1000, 3, 1e4, 2.0),
        (0.05, 3000, 3, 3e4, 2.0),
        (0.1, 1000, 3, 2e4, 2.0),
        (0.1, 3000, 3, 6e4, 2.0),
    ]


def test_tables_fit_a_terminal_of_80_columns_and_cut_nothing(store, begin):
    wanted = parse_spec(
        {
            "name": "s",
            "base": BASE,
            "axes": [
                {"width": [0.0125, 0.025, 4], "interactions": [123_456_789, 1_234_567, 512]},
                {"learning_rate": [1e-3, 5e-4]},
                {"seed": [0, 11]},
            ],
        },
        source="s.yaml",
    )
    configs = save(store, wanted)
    begin(configs[0])
    begin(configs[1]).fail("policy_loss is nan after 1,000 interactions; try a smaller agent.learning_rate")
    sizes = plan_sizes(
        configs,
        lambda config: Measured(
            {"flops_per_interaction": 1.5e9, "num_params": 63_171_420},
            MemoryNeed(*[123_456_789_012] * 7),
            123_456.0,
        ),
    )
    statuses = sweep_status(store, "s")
    tables = [
        plan_table(sizes),
        status_table(statuses),
        curves_table(store, "s", list(store.runs("s"))),
    ]
    for table in tables:
        narrow, wide = text(table).splitlines(), text(table, columns=300).splitlines()
        assert max(len(line.rstrip()) for line in narrow) <= 80
        words = [{word.strip("─") for line in lines for word in line.split()} for lines in (narrow, wide)]
        assert words[0] == words[1]


def test_tables_show_what_sets_the_runs_apart_and_nothing_else(store):
    measured = Measured({"flops_per_interaction": 1.0, "num_params": 7}, NEED)
    sizes = plan_sizes(expand(spec({"width": [0.05, 0.1], "seed": [0, 1]})), lambda config: measured)
    table = text(plan_table(sizes))
    assert "width" in table
    assert not any(name in table for name in ("depth", "horizon", "learning", "seed"))
    save(store, spec({"agent.clip": [0.1, 0.25]}))
    table = text(status_table(sweep_status(store, "s")))
    assert "clip" in table
    assert "0.25" in table
    assert "width" not in table


def test_reasons_are_shown_below_the_table_in_full_and_never_read_as_markup(store, begin):
    failed, stopped, done = save(store, spec({"seed": [0, 1, 2]}))
    begin(failed).fail("[red]odd[/red] [link=file:///etc/passwd]reason[/link] " + "x" * 100)
    begin(stopped).stop("asked to")
    begin(done).finish()
    notes = text(*status_notes(sweep_status(store, "s")), columns=300).splitlines()
    assert len(notes) == 2
    assert f"{failed.run_id[:8]} failed: [red]odd[/red] [link=file:///etc/passwd]reason[/link] " in notes[0]
    assert "x" * 100 in notes[0]
    assert notes[1].rstrip() == f"{stopped.run_id[:8]} stopped: asked to"


def test_the_memory_note_says_what_a_run_needs_and_when_the_machine_has_less():
    need = MemoryNeed(25_000_000_000, 1, 2, 3, 4, 5, 2_000_000_000)
    sizes = plan_sizes(
        expand(spec({"width": [0.05, 0.1]})),
        lambda config: Measured(
            {"flops_per_interaction": 1.0, "num_params": 7}, need if config.model.width == 0.1 else NEED
        ),
    )
    enough, short_of = memory_note(sizes, 64 * 10**9), memory_note(sizes, 16 * 10**9)
    assert "up to 27 GB a run, 25 GB of it observations; this machine has 64 GB" in enough
    assert "more than the 16 GB of this machine" in short_of
    assert "agent.num_envs (now 1)" in short_of
    assert "policy_iterations" not in short_of
    assert "27 GB" in text(plan_table(sizes))
