"""What a sweep has done: rates, time left, drivers, and how all that is shown and watched."""

import json

import pytest
from rich.console import Console

from rlscale.scaling.config.run import run_config
from rlscale.sweeps.running.drivers import Presence
from rlscale.sweeps.running.status import SizeFacts, SweepReader, progress, sweep_status
from rlscale.sweeps.specs.spec import expand, parse_spec
from rlscale.sweeps.store.run_store import RunStore
from rlscale.terminal.live import SweepView, watch_sweeps
from rlscale.terminal.sweep import progress_line, status_json, status_parts

BASE = {"task": "digits-bandit", "interactions": 1000}


@pytest.fixture
def save(store):
    """Store a spec with the given axes; returns its configs."""

    def make(axes):
        wanted = parse_spec({"name": "s", "base": BASE, "axes": axes}, source="s.yaml")
        store.write_spec("s", wanted.model_dump(mode="json"))
        return expand(wanted)

    return make


@pytest.fixture
def begin(store, claim):
    """Claim the run of a config and store that it has come so far."""

    def make(config, interactions, seconds, store=store):
        writer = claim(store, config.run_id, config=config.model_dump(mode="json"))
        writer.write_segment(0, [], b"state", interactions=interactions, wall_seconds=seconds)
        return writer

    return make


def text(state, *, show_all=False, columns=100) -> str:
    console = Console(width=columns, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for part in status_parts(state, show_all=show_all):
        console.print(part)
    return console.export_text()


def read(store):
    return SweepReader(store, "s").read_state()


# -- rates and time left -----------------------------------------------------------


def test_the_rate_of_a_sweep_is_that_of_its_running_runs_together(store, save, begin):
    one, two, done, _ = save({"seed": [0, 1, 2, 3]})
    begin(one, 500, 5.0)
    begin(two, 300, 1.0)
    begin(done, 1000, 1.0).finish()
    told = progress(sweep_status(store, "s"))
    assert told.rate == pytest.approx(500 / 5 + 300)
    assert (told.interactions, told.interactions_wanted) == (1800, 4000)


def test_time_left_takes_each_sizes_own_rate_and_as_many_runs_at_a_time_as_run_now(store, save, begin):
    small, _, large, _ = save([{"width": [0.05, 0.1], "interactions": [1000, 10_000]}, {"seed": [0, 1]}])
    begin(small, 500, 5.0)  # 100 a second: 5 s left, and 10 s for the one that waits
    begin(large, 5000, 5.0)  # 1000 a second: 5 s left, and 10 s for the one that waits
    assert progress(sweep_status(store, "s")).seconds_left == pytest.approx((5 + 10 + 5 + 10) / 2)


def test_no_sweep_ends_before_its_longest_run(store, save, begin):
    long, short = save([{"interactions": [10_000, 1000]}])
    begin(long, 100, 1.0)
    begin(short, 900, 9.0)
    assert progress(sweep_status(store, "s")).seconds_left == pytest.approx(99.0)


def test_time_left_is_unknown_where_a_size_was_never_timed(store, save, begin):
    small, _ = save({"width": [0.05, 0.1]})
    begin(small, 500, 5.0)
    told = progress(sweep_status(store, "s"))
    assert told.seconds_left is None
    assert progress_line(told) == "500 of 2k interactions (25%), 100/s, ? left"


def test_time_left_where_nothing_runs_is_that_of_one_run_at_a_time(store, save, begin):
    done, stopped, _ = save({"seed": [0, 1, 2]})
    begin(done, 1000, 10.0).finish()
    begin(stopped, 500, 5.0).stop("asked to")
    told = progress(sweep_status(store, "s"))
    assert told.seconds_left == pytest.approx(5 + 10)
    assert progress_line(told) == "1.5k of 3k interactions (50%), 15 s left, one run at a time"


def test_sizes_that_have_not_begun_have_their_n_and_a_time_by_their_flops(store, save, claim):
    widths = {0.05: (10, 100.0), 0.1: (20, 200.0), 0.2: (40, 400.0), 0.4: (80, 800.0)}
    first, _, third, _ = save({"width": list(widths)})

    def facts(config):
        return SizeFacts(*widths[config["model"]["width"]])

    for config, seconds in ((first, 10.0), (third, 40.0)):
        columns = dict(zip(("num_params", "flops_per_interaction"), widths[config.model.width], strict=True))
        writer = claim(store, config.run_id, config=config.model_dump(mode="json"), columns=columns)
        writer.write_segment(0, [], b"state", interactions=1000, wall_seconds=seconds)
        writer.finish()
    state = SweepReader(store, "s", facts).read_state()
    assert [run.num_params for run in state.statuses] == [10, 20, 40, 80]
    assert progress(state.statuses).seconds_left == pytest.approx(20 + 80)  # between the two, and above
    listed = text(state, show_all=True).splitlines()
    assert {line.split()[2] for line in listed if " wanted " in line} == {"20", "80"}


def test_runs_of_a_dead_driver_are_interrupted_and_have_no_rate(store, save, begin):
    (config,) = save({"seed": [0]})
    begin(config, 500, 5.0)
    with Presence(store, "s"):
        assert "interrupted" not in text(read(store))
        (name,) = store.list_files("s", "drivers")
        alive = json.loads(store.read_file("s", f"drivers/{name}"))
    store.write_file(
        "s", "drivers/d.json", json.dumps({**alive, "driver_id": "d", "pid": 2**22 + 1}).encode()
    )
    shown = text(read(store))
    assert "s: 1 run, 1 interrupted" in shown
    assert "100/s" not in shown
    assert "5 s left, one run at a time" in shown
    assert f"{config.run_id[:8]} interrupted: its driver is gone" in shown
    told = status_json(read(store))
    assert (told["interactions_per_second"], told["counts"]["interrupted"]) == (None, 1)
    assert (told["runs"][0]["interrupted"], told["runs"][0]["seconds_left"]) == (True, None)


def test_nothing_is_left_of_a_sweep_whose_runs_are_done_or_failed(store, save, begin):
    done, failed = save({"seed": [0, 1]})
    begin(done, 1000, 1.0).finish()
    begin(failed, 500, 1.0).fail("policy_loss is nan")
    told = progress(sweep_status(store, "s"))
    assert told.seconds_left == 0.0
    assert progress_line(told) == "1.5k of 2k interactions (75%)"
    assert read(store).has_ended


def test_a_clock_that_was_set_back_gives_no_negative_times(store, save, begin):
    (config,) = save({"seed": [0]})
    begin(config, 500, 1.0)
    for path in (store.files.root + f"/sweep=s/run={config.run_id}",):
        for name in {info.base_name for info in store.files.list(path) if info.base_name.endswith(".json")}:
            record = json.loads(store.files.read(f"{path}/{name}"))
            content = json.dumps({**record, "updated": "2999-01-01T00:00:00.000+00:00"}).encode()
            store.files.write(f"{path}/{name}", content)
    store.write_file("s", "drivers/d.json", driver("d", updated="2999-01-01T00:00:00.000+00:00"))
    state = read(store)
    told = status_json(state)
    assert told["runs"][0]["seconds_since_update"] == 0.0
    assert told["drivers"][0]["seconds_since_update"] == 0.0
    assert "-" not in text(state).replace("digits-bandit", "")


def test_a_reader_sees_what_changes_and_reads_what_is_done_once(store, save, begin, claim):
    first, second = save({"seed": [0, 1]})
    begin(first, 1000, 1.0).finish()
    reader = SweepReader(store, "s")
    assert [status.status for status in reader.read()] == ["done", "wanted"]
    writer = begin(second, 500, 1.0)
    assert [status.status for status in reader.read()] == ["done", "running"]
    writer.finish()
    (third,) = [config for config in save({"seed": [0, 1, 2]}) if config.seed == 2]
    assert [status.status for status in reader.read()] == ["done", "done", "wanted"]
    store.files.delete_folder(f"{store.files.root}/sweep=s/run={first.run_id}")
    assert {status.run_id: status.status for status in reader.read()} == {
        first.run_id: "wanted", second.run_id: "done", third.run_id: "wanted",
    }  # fmt: skip


# -- what is shown -----------------------------------------------------------------


def driver(driver_id: str, **fields) -> bytes:
    known = {
        "driver_id": driver_id,
        "host": "far",
        "pid": 1,
        "started": "",
        "updated": "",
        "machine": "its own",
    }
    return json.dumps({**known, **fields}).encode()


def test_status_lists_what_runs_failed_or_stopped_and_counts_the_rest(store, save, begin):
    running, failed, stopped, done, wanted = save({"seed": [0, 1, 2, 3, 4]})
    begin(running, 500, 1.0)
    begin(failed, 500, 1.0).fail("policy_loss is nan")
    begin(stopped, 500, 1.0).stop("asked to")
    begin(done, 1000, 1.0).finish()
    shown = text(read(store))
    assert "s: 5 runs, 1 done, 1 running, 1 failed, 1 stopped, 1 wanted" in shown
    for config in (running, failed, stopped):
        assert config.run_id[:8] in shown
        assert "50% of 1k" in shown
    for config in (done, wanted):
        assert config.run_id[:8] not in shown
        assert config.run_id[:8] in text(read(store), show_all=True)
    assert "500/s" in shown
    assert f"{failed.run_id[:8]} failed: policy_loss is nan" in shown


def test_runs_of_an_earlier_version_differ_in_no_field_that_it_did_not_have(store, save, begin, claim):
    (present,) = save({"seed": [0]})
    begin(present, 500, 1.0)
    earlier = run_config({**BASE, "seed": 1}, source="test")
    values = earlier.model_dump(mode="json")
    del values["model"]["activation"], values["precision"], values["levels"]
    claim(store, earlier.run_id, config=values).stop("asked to")
    shown = text(read(store))
    assert earlier.run_id[:8] in shown
    assert not {"activation", "precision", "num_levels"} & set(shown.split())


def test_runs_that_began_again_are_reported_with_their_attempts(store, save, begin):
    failed, running = save({"seed": [0, 1]})
    for _ in range(2):
        begin(failed, 500, 1.0).fail("policy_loss is nan")
    for _ in range(3):
        begin(running, 500, 1.0)
    shown = text(read(store))
    assert f"{failed.run_id[:8]} failed: policy_loss is nan (attempt 2)" in shown
    assert f"{running.run_id[:8]} running (attempt 3)" in shown


def test_a_sweep_of_thousands_of_runs_stays_readable(store, save, begin, rlscale, tmp_path):
    configs = save({"width": [0.05, 0.1], "seed": list(range(1500))})
    for config in configs[:30]:
        begin(config, 500, 1.0).fail("policy_loss is nan")
    running = begin(configs[-1], 500, 1.0)
    done = rlscale("sweep", "status", store.location, "--json", tmp_path / "status.json", columns=100)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) < 60
    assert lines[0].startswith("s: 3000 runs, 1 running, 30 failed, 2969 wanted")
    first = next(i for i, line in enumerate(lines) if "───" in line) + 1
    assert lines[first].split()[0] == running.record.run_id[:8]
    assert "... and 11 more of these; --all shows every run" in lines
    (told,) = json.loads((tmp_path / "status.json").read_text())["sweeps"]
    assert len(told["runs"]) == 3000
    everything = rlscale("sweep", "status", store.location, "--all").stdout
    assert all(config.run_id[:8] in everything for config in configs)


def test_drivers_are_shown_with_host_job_and_counts_and_cannot_steer_the_terminal(store, save, rlscale):
    save({"seed": [0]})
    store.write_file(
        "s", "drivers/d.json", driver("d", host="\x1b[31mfar", job="job-1", in_flight=2, waiting=3)
    )
    done = rlscale("sweep", "status", store.location, columns=200)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("driver on ")]
    assert "far, pid 1, job job-1: 2 in flight, 3 waiting, 0 ended" in line
    assert "\x1b" not in done.stdout


def test_status_for_machines_has_rates_progress_and_drivers(store, save, begin):
    running, _ = save({"seed": [0, 1]})
    begin(running, 500, 5.0)
    with Presence(store, "s"):
        told = status_json(read(store))
    assert told["interactions_per_second"] == pytest.approx(100)
    assert told["seconds_left"] == pytest.approx(5 + 10)
    assert (told["interactions"], told["interactions_wanted"]) == (500, 2000)
    assert told["runs"][0]["share"] == 0.5
    assert [driver["pid"] > 0 for driver in told["drivers"]] == [True]
    json.dumps(told, allow_nan=False)


# -- watching ----------------------------------------------------------------------


def test_watch_goes_on_until_all_runs_have_ended(start, store, save, begin, tmp_path):
    (config,) = save({"seed": [0]})
    writer = begin(config, 500, 1.0)
    command = start("sweep", "status", store.location, "--watch", "--json", tmp_path / "status.json")
    command.until(lambda: "s: 1 run, 1 running; 500 of 1k interactions" in command.output, "a first line")
    writer.write_segment(1, [], b"state", interactions=1000, wall_seconds=2.0)
    writer.finish()
    assert command.wait() == 0, command.output
    assert "s: 1 run, 1 done; 1k of 1k interactions (100%)" in command.output
    (told,) = json.loads((tmp_path / "status.json").read_text())["sweeps"]
    assert told["counts"]["done"] == 1


def test_watch_ends_with_the_driver_though_runs_are_left(start, store, save, begin):
    (config,) = save({"seed": [0]})
    with Presence(store, "s"):
        begin(config, 500, 1.0).stop("asked to")
        command = start("sweep", "status", store.location, "--watch")
        command.until(lambda: "1 stopped" in command.output, "a first line")
    assert command.wait() == 0, command.output


def test_ctrl_c_ends_watching_with_the_last_state(start, store, save):
    save({"seed": [0]})
    command = start("sweep", "status", store.location, "--watch")
    command.until(lambda: "1 wanted" in command.output, "a first line")
    command.interrupt()
    assert command.wait() == 0, command.output
    assert "Traceback" not in command.output
    assert command.output.splitlines()[-2:] == [
        "0 of 1k interactions (0%), ?/s, ? left",
        "no driver works on it; continue with: rlscale sweep resume",
    ]


def test_a_terminal_is_shown_one_picture(store, save, begin):
    (config,) = save({"seed": [0]})
    begin(config, 1000, 1.0).fail("policy_loss is nan")
    console = Console(width=100, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: SIM115
    (state,) = watch_sweeps(console, [SweepReader(RunStore(store.location), "s")])
    assert state.has_ended
    assert "failed: policy_loss is nan" in console.export_text()


# -- what a driver shows -------------------------------------------------------------


def test_without_a_terminal_a_driver_prints_its_progress_each_minute(store, save, begin, tmp_path):
    (config,) = save({"seed": [0]})
    begin(config, 500, 5.0)
    now = 0.0
    console = Console(file=open(tmp_path / "out", "w"), get_time=lambda: now)  # noqa: SIM115
    with SweepView(console, [SweepReader(store, "s")]) as view:
        view.poll()
        now = 59.0
        view.poll()
        console.file.flush()
        assert (tmp_path / "out").read_text() == ""
        now = 61.0
        view.poll()
        view.poll()
    console.file.flush()
    line = "s: 1 run, 1 running; 500 of 1k interactions (50%), 100/s, 5 s left"
    assert (tmp_path / "out").read_text().splitlines() == [line]
