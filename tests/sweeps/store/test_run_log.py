"""The log of each attempt at a run: what is kept, what survives a kill, and how it is shown."""

import json
import logging
import warnings

import pytest
import yaml

from rlscale.scaling.errors import LeaseLost
from rlscale.scaling.training.train import train
from rlscale.sweeps.store.run_log import RunLog, logged
from rlscale.sweeps.store.run_store import RunStore


@pytest.fixture
def run(store, claim):
    """Claim a run and train it with its log kept; returns its logs."""

    def make(config, **options):
        writer = claim(store, config.run_id, config=config.model_dump(mode="json"))
        with logged(writer) as logged_writer:
            train(config, logged_writer, **options)
        return texts(store, config)

    return make


def texts(store, config) -> list[str]:
    return [text for _, text in store.read_logs("s", config.run_id)]


def messages(text: str) -> list[str]:
    """Lines of a log without their times."""
    return [line.split("  ", 1)[1] for line in text.splitlines()]


def test_a_log_has_the_beginning_each_checkpoint_and_the_end_of_an_attempt(run, config_of):
    (text,) = run(config_of(interactions=4096, checkpoints=2, model={"width": 0.05}))
    begun, first, *checkpoints, last = messages(text)
    assert begun == "attempt 1 on here, pid 1, from 0 interactions"
    assert (first, last) == ("begins at the beginning", "done")
    assert len(checkpoints) == 2
    for index, (line, interactions) in enumerate(zip(checkpoints, ("2,048", "4,096"), strict=True)):
        assert line.startswith(f"checkpoint {index}: {interactions} interactions, ")
        assert "/s, return 0." in line


def test_each_attempt_has_a_log_of_its_own(run, config_of):
    config = config_of(interactions=4096, checkpoints=4, model={"width": 0.05})
    run(config, should_stop=lambda: True)
    stopped, done = run(config)
    assert messages(stopped)[-1].startswith("stopped: ")
    begun, continued, *_ = messages(done)
    assert begun.startswith("attempt 2 on here, pid 1, from ")
    assert not begun.endswith("from 0 interactions")
    assert continued == "continues from checkpoint 0"


def test_warnings_and_logging_are_in_the_log_and_where_they_were_before(store, claim, caplog):
    handlers = list(logging.getLogger().handlers)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        show = warnings.showwarning
        with logged(claim(store)) as logged_writer:
            warnings.warn("too hot", RuntimeWarning, stacklevel=1)
            logging.getLogger("engine").warning("%s is low", "oil")
            logging.getLogger("engine").info("not worth a line")
            logged_writer.stop("asked to")
        assert warnings.showwarning is show
    assert [str(warning.message) for warning in seen] == ["too hot"]
    ((_, text),) = store.read_logs("s", "r1")
    assert "RuntimeWarning: too hot" in text
    assert "WARNING: engine: oil is low" in text
    assert "not worth" not in text
    assert "oil is low" in caplog.messages
    assert logging.getLogger().handlers == handlers


def test_an_unexpected_failure_leaves_its_traceback(store, claim):
    with pytest.raises(ZeroDivisionError), logged(claim(store)):
        1 / 0  # noqa: B018
    ((_, text),) = store.read_logs("s", "r1")
    assert "ended unexpectedly" in text
    assert "ZeroDivisionError: division by zero" in text.splitlines()[-1]


def test_a_failure_with_a_reason_is_reported_in_one_sentence(run, store, config_of):
    config = config_of(interactions=4096, agent={"learning_rate": 1e30}, model={"width": 0.05})
    with pytest.raises(Exception, match="try a smaller"):
        run(config)
    (text,) = texts(store, config)
    assert messages(text)[-1].startswith("failed: ")
    assert "Traceback" not in text


def test_an_attempt_that_lost_its_run_writes_no_log_any_more(store, claim, rows_of):
    with logged(claim(store)) as logged_writer:
        claim(store)
        with pytest.raises(LeaseLost):
            logged_writer.write_segment(0, rows_of(0, 1), b"", interactions=100, wall_seconds=1.0)
    assert store.read_logs("s", "r1") == []


def test_a_killed_attempts_log_reaches_its_last_checkpoint(start, tmp_path, config_of):
    config = config_of(interactions=400_000, checkpoints=100, model={"width": 0.05})
    path, store = tmp_path / "run.yaml", RunStore(tmp_path / "store", create=True)
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = start("train", path, "--store", store.location, "--sweep", "s")
    command.until(lambda: any("checkpoint 1: " in text for text in texts(store, config)), "two checkpoints")
    command.kill()
    (text,) = texts(store, config)
    reached = store.read_run("s", config.run_id).interactions
    assert "attempt 1 on" in text
    assert f"{reached:,} interactions, " in "\n".join(text.splitlines()[-2:])


def test_a_message_that_comes_again_is_counted(run):
    log = RunLog()
    for _ in range(5):
        log.add("the same")
    log.add("another")
    first, repeats, other = log.text.splitlines()
    assert first.endswith("  the same")
    assert repeats.strip() == "... 4 more of the same"
    assert other.endswith("  another")


def test_a_log_stays_small_and_keeps_its_beginning_and_end():
    log = RunLog()
    for number in range(5000):
        log.add(f"message {number}")
    lines = log.text.splitlines()
    assert lines[0].endswith("message 0")
    assert lines[-1].endswith("message 4999")
    (gap,) = [line for line in lines if "left out" in line]
    assert len(lines) - 1 + int(gap.split()[1]) == 5000
    assert len(lines) < 2500
    log = RunLog()
    log.add("a" * 10**6 + "\nthe end")
    assert len(log.text) < 10_000
    assert log.text.endswith("the end\n")


# -- rlscale sweep logs ------------------------------------------------------------


@pytest.fixture
def shown(store, claim):
    """A store with runs whose ids begin alike, one with a log that would steer a terminal."""
    with logged(claim(store, "ab12")) as writer:
        logging.getLogger("odd").warning("red \x1b[31m text [bold]and[/bold] more")
        writer.stop("asked to")
    claim(store, "ab34").stop("asked to")
    claim(store, "ab34", sweep="other").stop("asked to")
    return store


def test_logs_shows_the_log_of_the_run_that_a_prefix_names(rlscale, shown, tmp_path):
    done = rlscale("sweep", "logs", shown.location, "ab1", "--json", tmp_path / "logs.json", columns=200)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("s: run ab12, stopped: asked to\n")
    assert "attempt 1 on here" in done.stdout
    assert "\x1b" not in done.stdout
    assert "[31m text [bold]and[/bold] more" in done.stdout
    told = json.loads((tmp_path / "logs.json").read_text())
    assert (told["sweep"], told["run_id"], told["status"]) == ("s", "ab12", "stopped")
    assert [attempt["number"] for attempt in told["attempts"]] == [1]
    assert "\x1b[31m" in told["attempts"][0]["log"]


def test_logs_of_a_run_that_kept_none_says_so(rlscale, shown):
    done = rlscale("sweep", "logs", shown.location, "ab3", "--sweep", "s")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == ["The store has no log of it."]


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("ab3", ("ab34 of s", "ab34 of other", "--sweep")),
        ("a", ("ab12 of s", "ab34 of s", "give more of the id")),
        ("zz", ("no run whose id begins with 'zz'",)),
    ],
)
def test_logs_of_no_run_or_several_names_the_candidates(rlscale, shown, prefix, words):
    done = rlscale("sweep", "logs", shown.location, prefix)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    for word in words:
        assert word in line
