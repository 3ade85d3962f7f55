import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from headstart import Domain, HeadstartError, envs
from headstart.errors import SimulationError


def test_cartpole_is_gymnasiums_own():
    batch = envs.start(Domain("gym:CartPole-v1"), 3, seed=0)
    obs = batch.reset()
    theirs = [gymnasium.make("CartPole-v1") for _ in range(3)]
    for env, seed, first in zip(theirs, batch._engine._seeds, obs, strict=True):
        np.testing.assert_array_equal(env.reset(seed=int(seed))[0], first.astype(np.float32))
    rng = np.random.default_rng(0)
    for _ in range(8):
        action = rng.integers(2, size=3)
        step = batch.step(action)
        for i, env in enumerate(theirs):
            obs, reward, terminated, truncated, _ = env.step(int(action[i]))
            np.testing.assert_array_equal(step.next_obs[i].astype(np.float32), obs)
            assert (step.reward[i], step.terminated[i], step.truncated[i]) == (
                reward, terminated, truncated,
            )  # fmt: skip


def test_next_obs_is_where_it_led_and_obs_is_what_follows():
    batch = envs.start(Domain("worlds:Track"), 2, seed=0)
    batch.reset()
    for t in range(1, 11):
        step = batch.step(np.zeros((2, 1)))
        assert step.next_obs[0, 1] == pytest.approx(t / 10)
        assert step.truncated.all() == (t == 10)
        assert not step.terminated.any()
    assert (step.obs[:, 1] == 0).all()
    assert (batch.age == 0).all()


def test_actions_are_scaled_to_the_bounds():
    batch = envs.start(Domain("gym:Pendulum-v1"), 3, seed=0)
    batch.reset()
    scaled = batch._scaled(np.array([[-1.0], [0.5], [7.0]]))
    assert scaled.ravel().tolist() == [-2.0, 1.0, 2.0]


def test_a_restored_batch_plays_its_episodes_again():
    domain = Domain("worlds:Track", wind={"uniform": [-0.5, 0.5]})
    first, second = envs.start(domain, 3, 0), envs.start(domain, 3, 1)
    first.reset(), second.reset()
    rng = np.random.default_rng(0)
    for _ in range(17):
        first.step(rng.uniform(-1, 1, (3, 1)))
    second.restore(first.state())
    for _ in range(25):
        action = rng.uniform(-1, 1, (3, 1))
        for a, b in zip(first.step(action), second.step(action), strict=True):
            np.testing.assert_array_equal(a, b)


class Camera(gymnasium.Env):
    """A frame whose every byte is the sum of the actions so far, from 250 on."""

    observation_space = spaces.Box(0, 255, (4, 5, 3), np.uint8)
    action_space = spaces.Discrete(3)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.level = 250
        return np.full((4, 5, 3), self.level, np.uint8), {}

    def step(self, action):
        self.level += int(action)
        return np.full((4, 5, 3), self.level, np.uint8), 0.0, self.level == 255, False, {}


def floats():
    env = Camera()
    env.observation_space = spaces.Box(0.0, 1.0, (4, 5, 3))
    return env


def test_images_stay_bytes():
    batch = envs.start(Domain("test_gymnasium:Camera"), 2, seed=0)
    first = batch.reset()
    assert (first.shape, first.dtype) == ((2, 4, 5, 3), np.uint8)
    batch.step(np.array([1, 2]))
    step = batch.step(np.array([2, 2]))
    assert step.next_obs[:, 0, 0, 0].tolist() == [253, 254]
    step = batch.step(np.array([2, 1]))
    assert step.terminated.tolist() == [True, True]
    assert step.next_obs.dtype == step.obs.dtype == np.uint8
    assert (step.next_obs == 255).all()
    assert (step.obs == 250).all()


def test_images_of_floats_are_refused():
    with pytest.raises(HeadstartError, match=r"images \[height, width, channels\] of bytes"):
        envs.find("test_gymnasium:floats")


def test_nan_is_named_with_the_parameters_that_gave_it():
    batch = envs.start(Domain("worlds:Broken", wind=0.4), 2, 0)
    batch.reset()
    says = r"Broken returned a reward that is not finite at step 5 .*wind=0.4, mass=1"
    with pytest.raises(SimulationError, match=says):  # noqa: PT012
        for _ in range(10):
            batch.step(np.zeros((2, 1)))


def test_an_exception_is_named():
    batch = envs.start(Domain("worlds:Raising"), 2, 0)
    batch.reset()
    with pytest.raises(SimulationError, match="ZeroDivisionError: the motor is gone"):  # noqa: PT012
        for _ in range(10):
            batch.step(np.zeros((2, 1)))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hoper", "unknown environment 'hoper': did you mean 'hopper'"),
        ("gym:CartPoll-v1", "Gymnasium has no 'CartPoll-v1'"),
        ("gym:FrozenLake-v1", "takes a Box with one axis"),
        ("nowhere:env", "no module 'nowhere'"),
        ("worlds:Trak", "did you mean 'Track'"),
    ],
)
def test_what_does_not_exist_or_suit_is_named(name, says):
    with pytest.raises(HeadstartError, match=says):
        envs.find(name)
