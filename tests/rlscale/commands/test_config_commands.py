"""``rlscale config`` from the config's file to the YAML that it prints or writes."""

import pytest
import yaml
from command_line import run

from rlscale.scaling.config.run import load_run_config

CONFIG = """\
task: procgen-coinrun-easy
interactions: 1000000
agent: {algorithm: ppg-ewma, horizon: 1999, gae_lambda: 0.95, num_envs: 256, rollout_steps: 256}
"""


@pytest.fixture
def rescale(tmp_path):
    def rescaled(*options, config=CONFIG):
        (tmp_path / "run.yaml").write_text(config)
        return run("config", "rescale", "run.yaml", *options, cwd=tmp_path)

    return rescaled


def test_the_rescaled_config_is_printed_and_is_a_config(rescale, tmp_path):
    done = rescale("--by", "4")
    (tmp_path / "small.yaml").write_text(done.stdout)
    before, after = (load_run_config(tmp_path / name) for name in ("run.yaml", "small.yaml"))
    assert (after.agent.num_envs, after.agent.learning_rate) == (64, 2.5e-4)
    assert after.agent.phasic.policy_iterations == 128
    assert before.model_copy(update={"agent": after.agent}) == after


def test_out_writes_the_same_to_a_file(rescale, tmp_path):
    printed = rescale("--by", "16", "--betas").stdout
    done = rescale("--by", "16", "--betas", "--out", "small.yaml")
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "small.yaml").read_text() == printed
    assert yaml.safe_load(printed)["agent"]["adam_betas"] == pytest.approx(
        [0.9 ** (1 / 16), 0.999 ** (1 / 16)]
    )


@pytest.mark.parametrize(
    ("options", "config", "words"),
    [
        (["--by", "3"], CONFIG, "a divisor of it"),
        (["--by", "4"], CONFIG.replace("ppg-ewma", "ppg"), "set agent.algorithm to ppg-ewma"),
        (["--by", "64"], CONFIG.replace("ppg", "ppo") + "model: {family: impala-lstm}\n", "rescaled by 64"),
        (["--by", "4", "--out", "no/small.yaml"], CONFIG, "there is no folder no"),
    ],
)
def test_what_does_not_fit_is_one_sentence(rescale, options, config, words):
    done = rescale(*options, config=config)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
