from pathlib import Path

import gymnasium
import jax
import mujoco
import numpy as np
import pytest
from scipy import stats

from headstart import Choice, Domain, HeadstartError, Normal, Uniform, envs

ROBOTS = ["hopper", "half-cheetah", "walker", "ant"]
OPTIONS = {"ant": {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0}}
FACTOR = 1.3


def edited(name, parameter, model):
    """The edit of Gymnasium's own model that the parameter stands for, and its value."""
    torso = model.body("torso").id
    value = None
    if parameter == "torso_mass":
        nominal = model.body_mass[torso]
        value = nominal * FACTOR
        model.body_mass[torso] = value
        model.body_inertia[torso] *= value / nominal
    elif parameter == "total_mass":
        value = model.body_mass.sum() * FACTOR
        scale = value / model.body_mass.sum()
        model.body_mass *= scale
        model.body_inertia *= scale
    elif parameter == "ground_friction":
        foot = {"hopper": "foot_geom", "half-cheetah": "bfoot", "walker": "foot_geom"}
        nominal = model.geom(foot.get(name, "left_ankle_geom")).friction[0]
        value = nominal * 0.7
        model.geom_friction[:, 0] *= value / nominal
    elif parameter == "joint_damping":
        value = FACTOR
        model.dof_damping *= value
    elif parameter == "armature":
        value = model.dof_armature[-1] * FACTOR
        model.dof_armature[model.dof_armature > 0] = value
    elif parameter == "gravity":
        value = 8.0
        model.opt.gravity[2] = -value
    elif parameter == "actuator_strength":
        value = 0.8
        model.actuator_gear *= value
    elif parameter == "wind":
        value = -30.0  # applied after each reset, which takes forces away
    return value


PHYSICAL = [
    "torso_mass", "total_mass", "ground_friction", "joint_damping", "armature", "gravity",
    "actuator_strength", "wind",
]  # fmt: skip


@pytest.mark.parametrize("parameter", [None, *PHYSICAL])
@pytest.mark.parametrize("name", ROBOTS)
def test_agrees_with_gymnasium_for_200_steps(name, parameter):
    environment = envs.find(name)
    wrapped = gymnasium.make(environment.gymnasium_id, **OPTIONS.get(name, {}))
    theirs = wrapped.unwrapped
    value = edited(name, parameter, theirs.model) if parameter else None
    mujoco.mj_setConst(theirs.model, theirs.data)
    ours = envs.start(Domain(name, **({parameter: value} if parameter else {})), 3, seed=0)
    ours.reset()
    rows, rng = np.arange(3), np.random.default_rng(1)
    ended = True
    for t in range(200):
        if ended:
            theirs.reset(seed=t)
            if parameter == "wind":
                theirs.data.body("torso").xfrc_applied[0] = value
            ours.reset()
            ours._engine.set_state(
                rows, np.tile(theirs.data.qpos, (3, 1)), np.tile(theirs.data.qvel, (3, 1))
            )
        action = rng.uniform(-1, 1, theirs.action_space.shape)
        obs, reward, ended, _, _ = theirs.step(action)
        step = ours.step(np.tile(action, (3, 1)), rows)
        np.testing.assert_allclose(step.next_obs["state"], np.tile(obs, (3, 1)), rtol=0, atol=1e-9)
        np.testing.assert_allclose(step.reward, reward, rtol=0, atol=1e-9)
        assert step.terminated.tolist() == [ended] * 3
    assert not np.array_equal(obs, theirs.reset(seed=0)[0])


@pytest.mark.parametrize("name", ["hopper", "walker", "ant"])
def test_terminations_happen_and_agree(name):
    """The rule itself, at states on both sides of every bound."""
    environment = envs.find(name)
    theirs = gymnasium.make(environment.gymnasium_id, **OPTIONS.get(name, {})).unwrapped
    rng = np.random.default_rng(0)
    qpos = np.tile(environment.model.qpos0, (500, 1)) + rng.normal(
        0, 0.4, (500, environment.model.nq)
    )
    qvel = rng.normal(0, 60.0, (500, environment.model.nv))
    ours = environment.healthy(qpos, qvel)
    expected = []
    for p, v in zip(qpos, qvel, strict=True):
        theirs.data.qpos[:], theirs.data.qvel[:] = p, v
        expected.append(bool(theirs.is_healthy))
    assert ours.tolist() == expected
    assert 0 < sum(expected) < 500


def test_first_observations_are_distributed_as_gymnasiums():
    for name in ROBOTS:
        environment = envs.find(name)
        theirs = gymnasium.make(environment.gymnasium_id, **OPTIONS.get(name, {}))
        drawn = np.stack([theirs.reset(seed=seed)[0] for seed in range(200)])
        ours = envs.start(Domain(name), 200, seed=0).reset()["state"]
        for column in range(ours.shape[1]):
            assert stats.ks_2samp(ours[:, column], drawn[:, column]).pvalue > 1e-4


def seen_after(running, action):
    """What is observed after a step."""
    return running.step(action).next_obs["state"]


def test_an_action_arrives_so_many_steps_later():
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (20, 1, 3))
    prompt = envs.start(Domain("hopper"), 1, 0)
    late = envs.start(Domain("hopper", action_delay=3), 1, 0)
    prompt.reset()
    late.reset()
    seen = []
    for t in range(20):
        delayed = actions[t - 3] if t >= 3 else np.zeros((1, 3))
        seen.append((seen_after(prompt, delayed), seen_after(late, actions[t])))
    for undelayed, delayed in seen:
        np.testing.assert_array_equal(undelayed, delayed)


def test_a_disabled_joint_is_an_action_of_zero():
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 1, 6))
    broken = envs.start(Domain("half-cheetah", disabled_joint=2), 1, 0)
    whole = envs.start(Domain("half-cheetah"), 1, 0)
    broken.reset()
    whole.reset()
    for action in actions:
        zeroed = action.copy()
        zeroed[:, 2] = 0.0
        a, b = broken.step(action), whole.step(zeroed)
        np.testing.assert_array_equal(a.next_obs["state"], b.next_obs["state"])
        # The command is still paid for.
        assert a.reward == pytest.approx(b.reward - 0.1 * action[0, 2] ** 2)


def test_observation_noise_has_its_standard_deviation():
    noisy = envs.start(Domain("half-cheetah", observation_noise=0.3), 50, 0)
    clean = envs.start(Domain("half-cheetah"), 50, 0)
    differences = []
    for _ in range(40):  # the same states, since both draw the same first state
        noisy.reseed(0), clean.reseed(0)
        noisy.reset()
        clean.reset()
        for _ in range(3):
            action = np.zeros((50, 6))
            differences.append(seen_after(noisy, action) - seen_after(clean, action))
    assert np.std(differences) == pytest.approx(0.3, rel=0.02)


def test_every_episode_draws_its_own_parameters():
    domain = Domain("hopper", torso_mass=Normal(6, 1.5, 3, 9), gravity=9.0)
    running = envs.start(domain, 4, seed=0)
    running.reset()
    drawn = [running.values[:, 0].copy()]
    for _ in range(200):
        step = running.step(np.ones((4, 3)))
        ended = step.terminated | step.truncated
        same = running.values[:, 0] == drawn[-1]
        assert (same == ~ended).all()
        drawn.append(running.values[:, 0].copy())
    masses = np.unique(np.concatenate(drawn))
    assert len(masses) > 10
    assert masses.min() >= 3
    assert masses.max() <= 9
    np.testing.assert_array_equal(running._engine._fields["gravity"][:, 2], -9.0)
    np.testing.assert_array_equal(running._engine._fields["body_mass"][:, 1], running.values[:, 0])


@pytest.mark.parametrize("name", ["hopper", "ant"])
def test_restored_copies_go_on_with_the_same_bits(name):
    domain = Domain(
        name, gravity=Uniform(8, 11), action_delay=Choice((0, 1, 2)), observation_noise=0.01
    )
    first = envs.start(domain, 5, seed=3)
    second = envs.start(domain, 5, seed=4)
    first.reset(), second.reset()
    rng = np.random.default_rng(0)
    shape = (5, *first.spec.actions.shape)
    for _ in range(30):
        first.step(rng.uniform(-1, 1, shape))
        second.step(rng.uniform(-1, 1, shape))
    second.restore({k: np.array(v) for k, v in first.state().items()})
    for _ in range(60):
        action = rng.uniform(-1, 1, shape)
        for a, b in zip(
            *map(jax.tree.leaves, (first.step(action), second.step(action))), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_an_observation_starts_the_simulator_where_it_was_taken():
    running = envs.start(Domain("hopper", torso_mass=5.0), 1, seed=0)
    probe = envs.start(Domain("hopper", torso_mass=5.0), 2, seed=1)
    obs = running.reset()
    probe.reset()
    rng = np.random.default_rng(0)
    for _ in range(40):
        action = rng.uniform(-1, 1, (1, 3))
        step = running.step(action)
        if probe.start_from({"state": np.tile(obs["state"], (2, 1))}).all():
            led = probe.step(np.tile(action, (2, 1)), np.arange(2)).next_obs["state"]
            expected = np.tile(step.next_obs["state"], (2, 1))
            np.testing.assert_allclose(led, expected, atol=1e-4)
        obs = step.obs


FAR = 10_000.0
PHASE = np.array([4.1, 3.8, 0.5, 1.5, 3.6, 2.5])


def backward(t):
    """A gait that takes the cheetah backward at about 1.6 m/s."""
    return np.sin(1.2 * t + PHASE)


def two_way_cheetahs(*walls):
    """Running copies, one for each wall in metres, just reset."""
    running = envs.start(Domain("two-way-cheetah", wall=Uniform(2, FAR)), len(walls), seed=0)
    running.pin(np.array(walls)[:, None])
    running.reset()
    return running


def place(running, x, speed):
    """Every copy stands at `x` and moves at `speed`; both a number, or one for each copy."""
    qpos, qvel = np.zeros((2, len(running.values), 9))
    qpos[:, 0], qvel[:, 0] = x, speed
    running._engine.set_state(np.arange(len(qpos)), qpos, qvel)


def states(running):
    return np.concatenate([running._engine._qpos, running._engine._qvel], axis=1)


def driven(running, actions):
    """States `[steps, copies, 18]` after each of the actions, which all copies are given."""
    found = []
    for action in actions:
        running.step(np.tile(action, (len(running.values), 1)))
        found.append(states(running))
    return np.stack(found)


def test_a_wall_out_of_reach_changes_nothing_but_the_reward_and_the_observation():
    """To the step before its shorter episode ends."""
    either = envs.start(Domain("two-way-cheetah"), 3, 0)
    plain = envs.start(Domain("half-cheetah"), 3, 0)
    np.testing.assert_array_equal(either.reset()["state"][:, 1:], plain.reset()["state"])
    rng, ways = np.random.default_rng(1), set()
    for _ in range(199):
        action = rng.uniform(-1, 1, (3, 6))
        ours, theirs = either.step(action), plain.step(action)
        np.testing.assert_allclose(states(either), states(plain), rtol=0, atol=1e-9)
        seen = ours.next_obs["state"][:, 1:]
        np.testing.assert_allclose(seen, theirs.next_obs["state"], rtol=0, atol=1e-9)
        cost = 0.1 * np.square(action).sum(1)
        speed, side = theirs.reward + cost, np.sign(plain._engine._qpos[:, 0])
        stayed = side == np.sign(plain._engine._qpos[:, 0] - 0.05 * speed)
        np.testing.assert_allclose(
            (ours.reward + cost)[stayed], (side * speed)[stayed], rtol=0, atol=1e-9
        )
        ways |= set(zip(side[stayed], np.sign(speed)[stayed], strict=True))
    assert len(ways) == 4


def test_the_wall_is_that_of_the_paper():
    """Against MuJoCo itself, with the box written into the file as in the published code."""
    folder = Path(gymnasium.__file__).parent / "envs/mujoco/assets"
    box = '<geom name="obstacle" type="box" pos="-3 0 1" size="1 10 10" conaffinity="1"/>'
    text = (folder / "half_cheetah.xml").read_text()
    model = mujoco.MjModel.from_xml_string(text.replace("</worldbody>", box + "</worldbody>"))
    data, obstacle = mujoco.MjData(model), model.geom("obstacle").id
    ours = two_way_cheetahs(2.0, 2.0)
    place(ours, 0.0, -10.0)
    data.qvel[0] = -10.0
    touched = set()
    for t in range(199):
        data.ctrl[:] = backward(t)
        for _ in range(5):
            mujoco.mj_step(model, data)
            pairs = [contact.geom for contact in data.contact if obstacle in contact.geom]
            touched |= {model.geom(geom).name for pair in pairs for geom in pair}
        ours.step(np.tile(backward(t), (2, 1)))
        expected = np.concatenate([data.qpos, data.qvel])
        np.testing.assert_allclose(states(ours), np.tile(expected, (2, 1)), rtol=0, atol=1e-9)
    # The torso too: its body has two geoms, and only for such does MuJoCo preselect pairs.
    assert {"torso", "bfoot"} < touched


def test_getting_away_from_the_start_is_rewarded_either_way():
    running = two_way_cheetahs(*[FAR] * 4)
    before = np.array([0.0, 0.0, 1.0, -1.0])
    place(running, before, [3.0, -3.0, -3.0, 3.0])
    reward = running.step(np.full((4, 6), 0.5)).reward
    x = running._engine._qpos[:, 0]
    assert (np.abs(x - before) > 0.1).all()
    expected = (np.abs(x) - np.abs(before)) / 0.05 - 0.1 * 6 * 0.25
    np.testing.assert_allclose(reward, expected, rtol=1e-12)
    assert (np.sign(reward) == [1, 1, -1, -1]).all()


def test_the_place_is_seen_up_to_half_a_metre():
    running = two_way_cheetahs(FAR, FAR, FAR, FAR)
    where = np.array([-0.3, 0.3, -0.8, 0.8])
    place(running, where, 0.0)
    obs = seen_after(running, np.zeros((4, 6)))
    assert obs.shape == (4, *running.environment.observation_space.shape) == (4, 18)
    before = states(running)
    np.testing.assert_allclose(before[:, 0], where, atol=0.1)
    np.testing.assert_array_equal(obs[:, 0], np.clip(before[:, 0], -0.5, 0.5))
    np.testing.assert_array_equal(obs[:, 1:], before[:, 1:])
    assert running.start_from({"state": obs}).tolist() == [True, True, False, False]
    np.testing.assert_array_equal(states(running)[:2], before[:2])


def test_a_copy_with_a_wall_and_one_without_do_not_disturb_each_other():
    def thrown(running):
        place(running, 0.0, -2.0)
        return driven(running, map(backward, range(80)))

    walled, free = thrown(two_way_cheetahs(2.0))[:, 0], thrown(two_way_cheetahs(FAR))[:, 0]
    assert free[-1, 0] < -3 < walled[-1, 0]
    mixed = two_way_cheetahs(2.0, FAR)
    np.testing.assert_array_equal(thrown(mixed), np.stack([walled, free], axis=1))
    mixed.pin(np.array([[FAR], [2.0]]))
    mixed.reset()
    np.testing.assert_array_equal(thrown(mixed), np.stack([free, walled], axis=1))


def test_a_cheetah_thrown_backward_is_stopped_by_the_wall():
    """The torso's end is 0.55 m behind its middle, and bodies are soft."""
    running = two_way_cheetahs(2.0, 2.0, 2.0, 4.0)
    place(running, 0.0, [-5.0, -10.0, -20.0, -20.0])
    x = driven(running, np.zeros((40, 6)))[:, :, 0]
    assert (x.min(0) > [-1.5, -1.5, -1.5, -3.5]).all()
    assert (x.min(0) < [-1.2, -1.2, -1.2, -3.2]).all()


def test_a_picture_shows_the_wall_where_it_stands():
    # 3.2 m wide around the cheetah, at x = −1: a face at x = −2 is 0.6 m from the left edge.
    for wall, column in ((2.0, 0.6 / 3.2 * 400), (4.0, None), (FAR, None)):
        running = two_way_cheetahs(wall)
        place(running, -1.0, 0.0)
        row = running.picture()[20]  # above the cheetah
        edges = np.flatnonzero((row[1:] != row[:-1]).any(1))
        if column is None:
            assert not len(edges)
        else:
            assert edges.mean() == pytest.approx(column, abs=1)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"torso_mas": 5}, "unknown parameter of hopper 'torso_mas': did you mean 'torso_mass'"),
        ({"torso_mass": 500}, r"lies in \[0.916298, 14.6608\] kg, but the domain asks for"),
        ({"gravity": Uniform(5, 50)}, r"asks for \[5, 50\]"),
        ({"action_delay": 1.5}, "takes whole numbers"),
        ({"action_delay": Uniform(0, 3)}, "takes whole numbers"),
    ],
)
def test_what_the_robot_does_not_have_is_refused(parameters, says):
    with pytest.raises(HeadstartError, match=says):
        envs.start(Domain("hopper", **parameters), 1, 0)
