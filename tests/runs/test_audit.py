"""Methods that take more than they say, each in its own way."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from headstart import Domain, HeadstartError, envs
from headstart.configuration import updated
from headstart.envs.grid import Grid, grid
from headstart.methods.method import Method
from headstart.methods.source_only import SourceOnly
from headstart.policies.policy import policy_from
from headstart.runs.evaluation import evaluation_seed
from headstart.runs.job import Job, prepare
from headstart.runs.metering import Allowance, Meter, MeteredTarget
from headstart.runs.run import run
from small import PPO, TRACK


@dataclass(frozen=True, kw_only=True)
class Cheat(SourceOnly):
    """Adapts by doing something else first, and something after its first policy."""

    steps: int = 128
    how: str = ""
    then: str = ""
    before: bool = False

    def pretrain(self, source, target, key):
        if self.before:
            globals()[self.how](source, target)
        return super().pretrain(source, target, key)

    def adapt(self, knowledge, source, target, key):
        if not self.before:
            globals()[self.how](source, target)
        yield policy_from(knowledge)
        if self.then:
            globals()[self.then](source, target)


def prepared(tmp_path, problem=TRACK, **fields) -> Job:
    method: Method = updated(Cheat(**fields), {"learner": PPO})
    job = Job(problem, "cheat", method, 0, tmp_path)
    prepare(job, resume=False)
    return job


def run_of(tmp_path, problem=TRACK, **fields) -> Any:
    return run(prepared(tmp_path, problem, **fields))


def step(running, times=3):
    running.reset()
    for _ in range(times):
        running.step(np.zeros((running.num, 1)))


def from_elsewhere(source, target):
    step(envs.start(TRACK.target, 2, 0))


def behind_the_handle(source, target):
    step(envs.start(enclosed(target.start, "environment"), 2, 0))


def inside_of_the_copies(source, target):
    running = target.start(1, 0)
    running.reset()
    step(enclosed(running.step, "restore"))


def enclosed(function, attribute):
    """What a function keeps to itself, by what it has."""
    cells = inspect.unwrap(function).__closure__
    return next(c.cell_contents for c in cells if hasattr(c.cell_contents, attribute))


def uncharged_source(source, target):
    step(source.simulator(2, 0))


def nothing(source, target):
    step(source.start(2, 0))
    step(target.start(1, 0))


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("from_elsewhere", "cheat took 6 steps outside of its handles, and 0 were charged"),
        ("behind_the_handle", "cheat took 6 steps outside of its handles, and 0 were charged"),
        ("inside_of_the_copies", "steps of the target, and 0 were charged"),
        ("uncharged_source", "steps of the source, and"),
    ],
)
def test_what_was_stepped_is_held_against_what_was_charged(how, said, before, tmp_path):
    problem = replace(TRACK, access=replace(TRACK.access, steps=10))
    with pytest.raises(HeadstartError, match=said):
        run_of(tmp_path, problem, how=how, before=before)
    assert not list(tmp_path.glob("*/*/*/result.json"))
    assert bool(list(tmp_path.glob("*/*/*/knowledge"))) is not before


def test_who_takes_what_is_charged_is_let_through(tmp_path):
    found = run_of(tmp_path, how="nothing")
    assert found.target["steps"] == 3
    assert found.source["steps"] >= 128 + 6


def test_two_runs_at_once_in_one_process_are_told_apart(tmp_path):
    jobs = [prepared(tmp_path / name, how="nothing", steps=512) for name in ("one", "other")]
    with ThreadPoolExecutor(2) as pool:
        assert all(result.shots for result in pool.map(run, jobs))


GRID = replace(
    TRACK, source=Domain("grid"), target=Domain("grid", wall=1), sweep={}, name="grid",
)  # fmt: skip


def shorten(source, target):
    object.__setattr__(grid, "horizon", 1)


def lengthen(source, target):
    object.__setattr__(grid, "horizon", 50)


def rich(self, state, action, p, key):
    state, reward, over = STEP(self, state, action, p, key)
    return state, reward + 1, over


STEP = Grid.step


def enrich(source, target):
    Grid.step = rich


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"how": "shorten"}, "cheat changed horizon of grid, which evaluation shares"),
        # Put back before the end, when the first policy would have been evaluated already.
        ({"how": "shorten", "then": "lengthen"}, "changed horizon of grid"),
        ({"how": "enrich"}, "changed step of grid"),
    ],
)
def test_environments_are_as_they_were(fields, said, tmp_path):
    try:
        with pytest.raises(HeadstartError, match=said):
            run_of(tmp_path, GRID, **fields)
    finally:
        lengthen(None, None)
        Grid.step = STEP


def test_what_an_environment_keeps_for_itself_is_nobodys_business(tmp_path):
    grids = replace(GRID, source=Domain("odd:LazyGrid"), target=Domain("odd:LazyGrid"))
    assert run_of(tmp_path, grids, how="nothing_of_it").shots


def nothing_of_it(source, target):
    source.start(1, 0).reset()


@pytest.mark.parametrize("number", [np.uint32(3), np.int32(3)])
def test_a_seed_may_be_a_number_of_numpys(number):
    seed = inspect.unwrap(Allowance.seed)
    assert seed(Allowance(Meter(), reserved=5), number) == 3


@pytest.mark.parametrize("domain", [Domain("probes:Track"), Domain("probes:Dot")])
def test_the_seed_of_evaluation_is_not_to_be_had(domain):
    reserved = evaluation_seed(3)
    target = MeteredTarget(domain, Allowance(Meter(), reserved=reserved))
    of_evaluation = envs.start(domain, 4, reserved).reset()
    for asked in (reserved, reserved + 2**32, reserved - 2**32):
        mine = target.start(4, asked).reset()
        assert all((mine[name] != of_evaluation[name]).any() for name in mine)
        seen = target.observations(4, asked)
        assert all((seen[name] != of_evaluation[name]).any() for name in seen)
    other = target.start(4, 5).reset()
    honest = envs.start(domain, 4, 5).reset()
    assert all((other[name] == honest[name]).all() for name in other)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 0.5, -1])
@pytest.mark.parametrize("what", ["steps", "episodes", "observations"])
def test_what_cannot_be_counted_is_not_charged(number, what):
    meter = Meter(step_limit=10, episode_limit=10, observation_limit=10)
    charge = inspect.unwrap(Meter.charge)  # where no types are checked
    with pytest.raises(ValueError, match="charge a whole number"):
        charge(meter, **{what: number})
    assert not any(meter.counts().values())
