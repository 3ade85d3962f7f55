from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from headstart import Domain, HeadstartError, TransferProblem
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.experience.replay import Batch
from headstart.experience.transition import Transition
from headstart.learners import train
from headstart.learners.dqn import DQN
from headstart.learners.sac import SAC
from headstart.methods.darc import Darc
from headstart.policies.networks import MLP
from headstart.problem import Access
from headstart.runs import checkpointer
from headstart.runs.checkpointer import Checkpointer
from headstart.runs.checks import check
from headstart.runs.logger import Logger, rows
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget
from headstart.transfer.density_ratio import DensityRatio, _inputs, calibration_error

LINE = EnvSpec("line", {"state": Group((1,))}, Actions((1,)), 10)
CHOICES = replace(LINE, actions=Actions((), (3,)))
correct = jax.jit(DensityRatio.__call__, static_argnums=0)
EXACT = DensityRatio(hidden=(16,), noise=0.0, learning_rate=3e-3)


def moved(size, shift, centre, key):
    """a ~ N(centre, 1), s′ ~ N(a + shift, 1), and an s that does not matter."""
    s, a, noise = jax.random.normal(key, (3, size, 1))
    a = a + centre
    ones = jnp.ones(size)
    return Batch({"state": s}, a, ones, {"state": a + shift + noise}, ones, ones)


@partial(jax.jit, static_argnums=0)
def fitted(ratio, shift, centre):
    """Classifiers of a source without shift, its actions about 0, and a target with both; their Δr
    and its inputs, for fresh transitions of the two."""
    start, learn, test, other = jax.random.split(jax.random.key(0), 4)

    def step(state, key):
        source_key, target_key, noise_key = jax.random.split(key, 3)
        source, target = moved(256, 0.0, 0.0, source_key), moved(256, shift, centre, target_key)
        return ratio.learn(state, source, target, noise_key)[0], None

    state, _ = jax.lax.scan(step, ratio.init(LINE, start), jax.random.split(learn, 2500))
    fresh = [moved(500, 0.0, 0.0, test), moved(500, shift, centre, other)]
    found = [(ratio.log_ratio(state, x), x.action[:, 0], x.next_obs["state"][:, 0]) for x in fresh]
    return [jnp.concatenate(columns) for columns in zip(*found, strict=True)]


def slope(x, y):
    return np.polyfit(np.asarray(x), np.asarray(y), 1)[0]


def test_the_log_ratio_of_gaussians():
    delta, a, after = fitted(EXACT, 1.0, 0.0)
    truth = norm.logpdf(after, a + 1) - norm.logpdf(after, a)
    assert slope(truth, delta) == pytest.approx(1.0, abs=0.1)
    assert float(jnp.abs(delta - truth).mean()) < 0.1


def test_noise_on_the_inputs_shrinks_it_as_far_as_it_should():
    """A noisy a tells half of a, and what it does not tell adds to the variance of the noisy s′:
    s′ ~ N(a / 2 + shift, 1 + 1 + 1/2)."""
    delta, a, after = fitted(replace(EXACT, noise=1.0), 1.0, 0.0)
    shrunk = norm.logpdf(after, a / 2 + 1, 2.5**0.5) - norm.logpdf(after, a / 2, 2.5**0.5)
    assert slope(shrunk, delta) == pytest.approx(1.0, abs=0.1)
    assert slope(after - a - 0.5, delta) == pytest.approx(1 / 2.5, abs=0.05)


@pytest.mark.parametrize(("classifiers", "bias"), [("both", 0.0), ("triple", 1.0)])
def test_the_classifier_on_pairs_takes_out_what_the_actions_tell(classifiers, bias):
    """Actions about 1 in the target: log p_target(a) − log p_source(a) = a − 1/2."""
    delta, a, after = fitted(replace(EXACT, classifiers=classifiers), 1.0, 1.0)
    excess = delta - (after - a - 0.5)
    assert slope(a, excess) == pytest.approx(bias, abs=0.1)


def test_well_separated_dynamics_have_a_ratio_without_bound():
    """log p_target − log p_source = 8 (s′ − a) − 32: about ±32. A softmax taken for logits would
    keep it within ±2."""
    delta, _, _ = fitted(EXACT, 8.0, 0.0)
    assert float(delta[:500].mean()) < -8
    assert float(delta[500:].mean()) > 8


FIXED = DensityRatio(noise=0.0, learning_rate=0.0, warmup=100, scale=2.0, max_weight=3.0)


def stated(pair, residual, spec=LINE):
    """Linear classifiers with these weights on (s, a) and on (s, a, s′)."""
    fresh = FIXED.init(spec, jax.random.key(0))
    parts = []
    for weights in (pair, residual):
        linear = MLP((len(weights), 1), 0.1, jax.random.key(0), jax.nn.relu)
        parts.append(eqx.tree_at(lambda m: m.weights[0], linear, jnp.array(weights)[:, None]))
    opt_state = FIXED._optimiser.init(tuple(parts))
    return eqx.tree_at(lambda c: (c.pair, c.residual, c.opt_state), fresh, (*parts, opt_state))


def sample_of(s, a, after):
    a = jnp.array(a) if isinstance(a[0], int) else jnp.array(a)[:, None]
    ones = jnp.ones(len(s))
    before, after = ({"state": jnp.array(x)[:, None]} for x in (s, after))
    return Batch(before, a, ones, after, ones, ones)


def test_logits_are_subtracted_as_they_are():
    state = stated([1.0, 10.0], [0.0, -2.0, 30.0])
    seen = sample_of([1.0, 2.0], [0.5, -0.5], [3.0, -4.0])
    assert FIXED.log_ratio(state, seen).tolist() == [89.0, -119.0]
    triple = replace(FIXED, classifiers="triple").log_ratio(state, seen)
    assert triple.tolist() == [89.0 + 6.0, -119.0 - 3.0]


def test_discrete_actions_are_one_hot():
    state = stated([1.0, 10.0, 20.0, 30.0], [0.0] * 5, CHOICES)
    triple = replace(FIXED, classifiers="triple")
    found = triple.log_ratio(state, sample_of([0.0, 5.0, 0.0], [2, 0, 1], [0.0] * 3))
    assert found.tolist() == [30.0, 15.0, 20.0]


@pytest.mark.parametrize(
    ("use", "done", "reward", "weight"),
    [
        ("reward", 99, [1, 1, 1], [1, 1, 1]),
        ("reward", 100, [1 + 2, 1 - 40, 1 + 10], [1, 1, 1]),
        ("weight", 99, [1, 1, 1], [1, 1, 1]),
        ("weight", 100, [1, 1, 1], [np.e, 1e-4, 3.0]),
    ],
)
def test_rewards_or_weights_change_after_the_warm_up(use, done, reward, weight):
    """Δr is 1, −20 and 5; a weight lies between 10⁻⁴ and max_weight."""
    ratio, state = replace(FIXED, use=use), stated([7.0, 7.0], [0.0, 0.0, 1.0])
    seen = sample_of([0.0] * 3, [0.0] * 3, [1.0, -20.0, 5.0])
    after, corrected, log = correct(ratio, state, seen, seen, done, jax.random.key(0))
    np.testing.assert_allclose(corrected.reward, reward, rtol=1e-6)
    np.testing.assert_allclose(corrected.weight, weight, rtol=1e-6)
    assert float(log["delta"]) == pytest.approx(-14 / 3)
    assert eqx.tree_equal(after.residual, state.residual)


def test_calibration_by_hand():
    """In three bins: 0.05 too high; 0.85 too low; 0.95 right once and 1 for nothing."""
    probs, label = jnp.array([0.05, 0.15, 0.95, 1.0]), jnp.array([0.0, 1.0, 1.0, 0.0])
    assert float(calibration_error(probs, label)) == pytest.approx((0.05 + 0.85 + 0.95) / 4)
    assert float(calibration_error(jnp.full(4, 0.25), label / 2)) == pytest.approx(0.0)


def test_what_is_measured_by_hand():
    state = stated([0.0, 0.0], [0.0, 0.0, 1.0])

    def seen(after):
        column = jnp.array(after).reshape(2, 1, 1)
        flags = jnp.zeros((2, 1), bool)
        ones = jnp.ones((2, 1))
        return Transition({"state": 0 * column}, 0 * column, ones, {"state": column}, flags, flags)

    log = FIXED.measure(state, seen([-1.0, 3.0]), seen([2.0, 4.0]))
    assert float(log["fresh_accuracy"]) == 0.75
    assert float(log["fresh_delta"]) == pytest.approx(1.0)
    # Probabilities 0.2689 and 0.9526 of the source, 0.8808 and 0.9820 of the target, in three bins.
    error = 0.2689 + (1 - 0.8808) + abs(1 - 0.9820 - 0.9526)
    assert float(log["calibration_error"]) == pytest.approx(error / 4, abs=1e-4)


def test_images_are_refused():
    images = replace(LINE, groups={"pixels": Group((24, 24, 3), "image")})
    with pytest.raises(HeadstartError, match="the ratio of dynamics is judged from vectors"):
        DensityRatio().init(images, jax.random.key(0))


def test_the_target_is_stepped_at_random_and_then_every_so_often():
    ratio = DensityRatio(random_steps=10, after=100, every=5)
    steps = [ratio.reference_steps(done) for done in (0, 100, 104, 105, 200)]
    assert steps == [10, 10, 10, 11, 30]


SMALL = SAC(
    hidden=(8,), num_envs=4, rollout_length=10, batch_size=16, learning_starts=80,
    updates_per_step=0.25, buffer_size=400,
)  # fmt: skip
DARC = Darc(
    steps=320, learner=SMALL,
    ratio=DensityRatio(hidden=(8,), random_steps=40, warmup=160, after=160, every=2),
)  # fmt: skip
WINDY, CALM = Domain("archery", wind=1.0), Domain("archery")


def allowing(steps):
    return TransferProblem("any", WINDY, CALM, access=Access(steps=steps, shots=(0,)))


@pytest.mark.parametrize(
    ("method", "limit", "says"),
    [
        (DARC, 119, "darc takes 120 target steps, and access allows 119: raise access.steps"),
        (replace(DARC, learner=DQN(n_step=3)), 500, "set learner.n_step to 1, not 3"),
        (
            replace(DARC, ratio=replace(DARC.ratio, random_steps=0)), 500,
            r"begin to learn after 120 source steps, .* raise ratio.random_steps to at least 40",
        ),
        (replace(DARC, steps=160), 500, "corrected after 160 source steps, and there are 160"),
    ],
)  # fmt: skip
def test_darc_says_what_it_cannot_do_before_it_runs(method, limit, says):
    check(allowing(120), DARC, "darc")
    with pytest.raises(HeadstartError, match=says):
        check(allowing(limit), method, "darc")


def pretrained(method, target):
    source = CountedSource(WINDY)
    return source, method.pretrain(source, target, jax.random.key(0))


def test_a_training_of_random_actions_alone_is_refused_before_a_step_is_taken():
    random = replace(
        DARC, steps=90, ratio=replace(DARC.ratio, warmup=0),
        learner=replace(SMALL, learning_starts=81),
    )  # fmt: skip
    meters = Meter(), Meter(0, 500, 500)
    source, target = CountedSource(WINDY, meters[0]), MeteredTarget(CALM, Allowance(meters[1]))
    with pytest.raises(HeadstartError, match="the first 81 of 90 steps are random, in rollouts of"):
        random.pretrain(source, target, jax.random.key(0))
    nothing = {"observations": 0, "steps": 0, "episodes": 0}
    assert [meter.counts() for meter in meters] == [nothing, nothing]


def test_a_target_that_allows_just_what_is_needed_is_enough():
    """Steps come in rollouts of 40: 301 are 320, and 111 target steps are 80. An arrow is an
    episode: with the first of each copy, one more is shown than is shot."""
    meter = Meter(0, 111, 222)
    pretrained(replace(DARC, steps=301), MeteredTarget(CALM, Allowance(meter)))
    assert meter.steps == 80
    assert meter.episodes == 80 + 4


def test_the_log_has_what_was_measured_since_its_last_row(tmp_path, monkeypatch):
    """The target is stepped before the first gradient step, and again from 160 steps on."""
    monkeypatch.setattr(train, "LOGGED_EVERY", 40)
    source = CountedSource(WINDY, logger=Logger(tmp_path))
    DARC.pretrain(source, MeteredTarget(CALM, Allowance(Meter())), jax.random.key(0))
    logged = rows(tmp_path)
    assert [row["steps"] for row in logged if "fresh_accuracy" in row] == [40, 240, 320]
    assert [row["steps"] for row in logged if "delta" in row] == list(range(120, 321, 40))


class Stopped(Exception):
    pass


def test_darc_resumes_with_the_same_bits_under_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpointer, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    monkeypatch.setattr(checkpointer, "CHECKPOINT_SHARE", 1e9)

    def trained(folder, stop_at):
        def progress(_, done, total):
            if done == stop_at:
                raise Stopped

        meters = {"source": Meter(), "target": Meter(0, 120, 240)}
        record = Logger(folder), Checkpointer(folder, meters), progress
        source = CountedSource(WINDY, meters["source"], *record)
        target = MeteredTarget(CALM, Allowance(meters["target"]), *record)
        knowledge = DARC.pretrain(source, target, jax.random.key(0))
        return knowledge.parts, [meter.counts() for meter in meters.values()]

    whole, counts = trained(None, None)
    assert whole.keys() == {"policy", "critic", "ratio", "temperature", "optimiser"}
    assert [count["steps"] for count in counts] == [320, 120]
    with pytest.raises(Stopped):
        trained(tmp_path, 240)
    parts, again = trained(tmp_path, None)
    assert again == counts
    for part, leaves in parts.items():
        for name, leaf in leaves.items():
            np.testing.assert_array_equal(leaf, whole[part][name])


def test_groups_are_judged_side_by_side_and_choices_as_which_it_is():
    groups = {"state": Group((2,)), "gear": Group((1,), "choice", (3,))}
    state = EXACT.init(EnvSpec("here", groups, Actions((1,)), 10), jax.random.key(0))
    obs = {"state": jnp.array([[1.0, 2.0]]), "gear": jnp.array([[2]])}
    one = jnp.ones(1)
    pair, after = _inputs(state, Batch(obs, jnp.array([[0.5]]), one, obs, one, one))
    assert sorted(pair[0].tolist()) == [0.0, 0.0, 0.5, 1.0, 1.0, 2.0]
    assert pair[0, -1] == 0.5
    np.testing.assert_array_equal(pair[0, :-1], after[0])
