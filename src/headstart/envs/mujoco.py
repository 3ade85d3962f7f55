"""Gymnasium's hopper, half-cheetah, walker and ant, with a different body in every copy.

Observations, rewards and terminations are those of Gymnasium's v5 environments (the ant without
contact forces in its observation and reward). The physics is MuJoCo's, stepped by mjbatch.

The two-way cheetah is the half-cheetah of Eysenbach et al. 2021, "Off-Dynamics Reinforcement
Learning" (arXiv 2006.13916): it may run either way, and there may be a wall behind the start.
Differs from the published code in: the speed of getting away from the start is rewarded, and not
all movement, which rocking on the spot has too; the observation therefore begins with the place,
clipped to ±0.5 m, which tells the side but not how near the wall is; episodes take 200 steps.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module ships no types.)

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from mjbatch import Batch as Simulations

from headstart.envs.drawing import side_view
from headstart.envs.environment import Engine, HostEnvironment
from headstart.problem.parameter import Parameter

WALL = (1.0, 10.0, 10.0)
"""Half the wall's size along x, y and z, metres; it reaches below the floor, which is soft."""
ANY_SPEED = 20.0
"""Metres a second that no robot keeps up."""
OUT_OF_REACH = 10_000.0
"""Metres: an episode of 50 s ends long before."""


FREE_PLACES = ("x", "y", "z", "qw", "qx", "qy", "qz")
FREE_SPEEDS = ("vx", "vy", "vz", "wx", "wy", "wz")
"""Of a joint that leaves a body free: its place and turn, and how fast they change."""


@dataclass(frozen=True)
class Robot(HostEnvironment):
    """A walking robot."""

    name: str
    gymnasium_id: str
    file: str
    frame_skip: int
    feet: tuple[str, ...]
    control_cost: float
    hidden: int
    """Leading coordinates that the observation leaves out (those along the ground)."""
    velocity_clip: float
    reset_noise: float
    normal_velocity: bool
    """Whether the initial velocity is normal rather than uniform."""
    alive_bonus: float
    healthy: Callable[[np.ndarray, np.ndarray], np.ndarray]
    horizon: int = 1000
    either_way: bool = False
    """Whether getting away from the start is rewarded, and not going forward."""
    place_clip: float = np.inf
    """Metres to which the observation clips the first coordinate, if it shows it."""
    walled: bool = False
    """Whether there may be a wall behind the start."""
    told: bool = False
    """Whether it may be told a direction and a speed to run in."""
    starts_from_observations = True

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The nominal model; never edited."""
        folder = Path(gymnasium.__file__).parent / "envs/mujoco/assets"
        spec = mujoco.MjSpec.from_file(str(folder / self.file))
        if self.walled:
            box, centre = mujoco.mjtGeom.mjGEOM_BOX, [-OUT_OF_REACH - WALL[0], 0, 1]
            # The robots' geoms collide only with those that, as the floor does, have an affinity.
            spec.worldbody.add_geom(
                name="wall", type=box, pos=centre, size=WALL, conaffinity=1, mass=0
            )
        model = spec.compile()
        if self.walled:
            # The tree that preselects pairs of geoms is compiled: it would miss a wall that moves.
            model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)
        # A diverged simulation must show as a number that is not finite, not as a silent reset.
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        return model

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        model = self.model
        torso, total = model.body("torso").mass[0], model.body_mass.sum()
        friction = model.geom(self.feet[0]).friction[0]
        armature = model.dof_armature[-1]
        gravity = -model.opt.gravity[2]
        parameters = {
            "torso_mass": Parameter(torso, torso / 4, torso * 4, "kg", "mass of the torso"),
            "total_mass": Parameter(
                total,
                total / 4,
                total * 4,
                "kg",
                "scales every body; counts the nominal torso",
            ),
            "ground_friction": Parameter(
                friction,
                friction / 10,
                friction * 4,
                "1",
                "sliding friction, feet on the floor",
            ),
            "joint_damping": Parameter(1.0, 0.1, 10.0, "× nominal", "of the actuated joints"),
            "armature": Parameter(
                armature,
                armature / 10,
                armature * 10,
                "kg m²",
                "rotor inertia at each joint",
            ),
            "gravity": Parameter(gravity, 1.0, 30.0, "m/s²", "downwards"),
            "actuator_strength": Parameter(1.0, 0.1, 3.0, "× nominal", "torque for an action"),
            "disabled_joint": Parameter(
                -1,
                -1,
                model.nu - 1,
                "index",
                "actuator that does nothing; −1: none",
                integer=True,
            ),
            "action_delay": Parameter(0, 0, 8, "steps", "between command and torque", integer=True),
            "random_force": Parameter(
                0.0, 0.0, 500.0, "N", "standard deviation of a push on the torso, anew each step"
            ),
            "wind": Parameter(0.0, -200.0, 200.0, "N", "steady push on the torso, along x"),
            "observation_noise": Parameter(
                0.0,
                0.0,
                1.0,
                "rad, m, 1/s",
                "standard deviation, independent at every entry",
            ),
        }
        if self.told:
            parameters["direction"] = Parameter(
                1.0, -1.0, 1.0, "1", "to run in: 1 is forward, −1 backward"
            )
            parameters["speed"] = Parameter(
                ANY_SPEED, 0.1, ANY_SPEED, "m/s", f"to be kept; {ANY_SPEED:g}: as fast as it can"
            )
        if self.walled:  # nearer than 0.9 m, some episodes would start inside of it
            parameters["wall"] = Parameter(
                OUT_OF_REACH, 0.9, OUT_OF_REACH, "m", "from the start back to the wall's face"
            )
        return parameters

    @cached_property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(
            -np.inf, np.inf, (self.model.nq - self.hidden + self.model.nv,), np.float64
        )

    @cached_property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (self.model.nu,), np.float64)

    @cached_property
    def observation_names(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the joints, as the model names them."""
        places: list[str] = []
        speeds: list[str] = []
        for j in range(self.model.njnt):
            name, free = self.model.joint(j).name, self.model.jnt_type[j] == 0
            places += [f"{name} {part}" for part in FREE_PLACES] if free else [name]
            speeds += [f"{name} {part}" for part in FREE_SPEEDS] if free else [f"{name} speed"]
        return (*places[self.hidden :], *speeds)

    @cached_property
    def action_names(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the joints that are driven."""
        joints = [self.model.actuator(i).trnid[0] for i in range(self.model.nu)]
        return tuple(self.model.joint(j).name for j in joints)

    @property
    def dt(self) -> float:
        """Seconds of a step."""
        return self.model.opt.timestep * self.frame_skip

    def engine(self, num: int) -> "Simulator":
        return Simulator(self, num)


class Simulator(Engine):
    """The engine: as many robots as asked for, on as many threads as this process may use."""

    def __init__(self, robot: Robot, num: int):
        self.robot = robot
        model = robot.model
        threads = min(num, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0)
        self._sims = Simulations(model, num, threads)
        self._state = self._sims.bind("state")
        self._qpos, self._qvel = self._sims.bind("qpos"), self._sims.bind("qvel")
        self._ctrl, self._warmstart = (
            self._sims.bind("ctrl"),
            self._sims.bind("qacc_warmstart"),
        )
        self._xpos = self._sims.bind("xpos") if robot.name == "ant" else None
        self._torso = model.body("torso").id
        self._fields = {
            name: self._sims.expand(name)
            for name in (
                "body_mass", "body_inertia", "geom_friction", "dof_damping", "dof_armature",
                "actuator_gear", "gravity", "geom_pos",
            )
        }  # fmt: skip
        longest = int(robot.parameters["action_delay"].high)
        self._names = list(robot.parameters)
        self._disabled = np.full(num, -1)
        self._delay = np.zeros(num, np.int64)
        self._noise = np.zeros(num)
        self._force, self._wind = np.zeros(num), np.zeros(num)
        self._direction, self._speed = np.ones(num), np.full(num, ANY_SPEED)
        self._pushed = self._sims.bind("xfrc_applied")
        self._applied = np.full((num, len(self._names)), np.nan)
        self._pending = np.zeros((num, longest + 1, model.nu))  # commands, newest first

    def set_parameters(self, rows: np.ndarray, values: np.ndarray) -> None:
        changed = (self._applied[rows] != values).any(1)
        rows, values = rows[changed], values[changed]
        if not len(rows):
            return
        self._applied[rows] = values
        p = dict(zip(self._names, values.T, strict=True))
        model, nominal, fields = self.robot.model, self.robot.parameters, self._fields
        scale = (p["total_mass"] / nominal["total_mass"].nominal)[:, None]
        mass = np.tile(model.body_mass, (len(rows), 1))
        mass[:, self._torso] = p["torso_mass"]
        heavier = mass / np.where(model.body_mass > 0, model.body_mass, 1.0)
        fields["body_mass"][rows] = mass * scale
        fields["body_inertia"][rows] = model.body_inertia * (heavier * scale)[:, :, None]
        slide = p["ground_friction"] / nominal["ground_friction"].nominal
        fields["geom_friction"][rows] = model.geom_friction
        fields["geom_friction"][rows, :, 0] = model.geom_friction[:, 0] * slide[:, None]
        fields["dof_damping"][rows] = model.dof_damping * p["joint_damping"][:, None]
        fields["dof_armature"][rows] = (model.dof_armature > 0) * p["armature"][:, None]
        fields["gravity"][rows, 2] = -p["gravity"]
        fields["actuator_gear"][rows] = model.actuator_gear * p["actuator_strength"][:, None, None]
        if self.robot.walled:
            fields["geom_pos"][rows, model.geom("wall").id, 0] = -p["wall"] - WALL[0]
        self._disabled[rows] = p["disabled_joint"]
        self._delay[rows] = p["action_delay"]
        self._noise[rows] = p["observation_noise"]
        self._force[rows], self._wind[rows] = p["random_force"], p["wind"]
        if self.robot.told:
            self._direction[rows], self._speed[rows] = p["direction"], p["speed"]
        self._pushed[rows] = 0.0
        self._sims.set_const(rows.astype(np.int32))

    def reset(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        model, noise = self.robot.model, self.robot.reset_noise
        shape = (len(rows), model.nv)
        qpos = model.qpos0 + rng.uniform(-noise, noise, (len(rows), model.nq))
        if self.robot.normal_velocity:
            qvel = noise * rng.standard_normal(shape)
        else:
            qvel = rng.uniform(-noise, noise, shape)
        self._pending[rows] = 0.0
        self.set_state(rows, qpos, qvel)
        return self._observe(rows, rng)

    def set_state(self, rows: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Positions `[rows, nq]` and velocities `[rows, nv]`, as after Gymnasium's reset."""
        ids = rows.astype(np.int32)
        self._sims.reset(ids)
        self._qpos[rows], self._qvel[rows] = qpos, qvel
        self._warmstart[rows] = 0.0
        self._sims.forward(ids)

    def start_from(self, observation: np.ndarray) -> np.ndarray:
        """The state of every copy from its observation; the hidden coordinates are zero.

        Returns:
            Whether each observation tells the state: not where a speed or the place was clipped, a
            command is under way, or noise was added.
        """
        shown = self.robot.model.nq - self.robot.hidden
        qpos = np.zeros_like(self._qpos)
        qpos[:, self.robot.hidden :] = observation[:, :shown]
        self._pending[:] = 0.0
        qvel = observation[:, shown:]
        self.set_state(np.arange(len(observation)), qpos, qvel)
        unclipped = (np.abs(qvel) < self.robot.velocity_clip).all(1)
        unclipped &= np.abs(qpos[:, 0]) < self.robot.place_clip
        return unclipped & (self._delay == 0) & (self._noise == 0) & (self._force == 0)

    def step(
        self, rows: np.ndarray, action: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        robot, everyone = self.robot, len(rows) == len(self._ctrl)
        pick = slice(None) if everyone else rows
        self._pending[pick, 1:] = self._pending[pick, :-1]
        self._pending[pick, 0] = action
        command = self._pending[rows, self._delay[rows]]
        disabled = self._disabled[rows]
        if (disabled >= 0).any():
            broken = np.flatnonzero(disabled >= 0)
            command[broken, disabled[broken]] = 0.0
        self._ctrl[pick] = command
        force, wind = self._force[rows], self._wind[rows]
        if force.any() or wind.any():
            push = np.zeros((len(rows), 3))
            if force.any():
                push = force[:, None] * rng.standard_normal(push.shape)
            push[:, 0] += wind
            self._pushed[rows, self._torso, :3] = push
        before = self._x()[pick].copy()
        self._sims.step(None if everyone else rows.astype(np.int32), robot.frame_skip)
        qpos, qvel = self._qpos[pick], self._qvel[pick]
        alive = robot.healthy(qpos, qvel)
        after = self._x()[pick]
        moved = np.abs(after) - np.abs(before) if robot.either_way else after - before
        reward = moved / robot.dt * self._direction[rows]
        beyond = np.maximum(reward - self._speed[rows], 0.0)
        reward = reward - 2 * beyond
        reward += robot.alive_bonus * alive
        reward -= robot.control_cost * np.square(action).sum(1)
        return reward, self._observe(rows, rng), ~alive, np.zeros(len(rows), bool)

    def _x(self) -> np.ndarray:
        # Gymnasium's ant measures its progress at the torso's cached position, one substep late.
        return self._qpos[:, 0] if self._xpos is None else self._xpos[:, self._torso, 0]

    def _observe(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        clip = self.robot.velocity_clip
        qvel = self._qvel[rows]
        qvel = np.clip(qvel, -clip, clip) if np.isfinite(clip) else qvel
        observation = np.concatenate([self._qpos[rows, self.robot.hidden :], qvel], axis=1)
        place = self.robot.place_clip
        if np.isfinite(place):
            observation[:, 0] = observation[:, 0].clip(-place, place)
        noise = self._noise[rows, None]
        if noise.any():
            observation += noise * rng.standard_normal(observation.shape)
        return observation

    def masses_and_inertias(self) -> dict[str, np.ndarray]:
        """Of the first robot: `mass [bodies]`, `inertia [bodies, 3]`, and what MuJoCo derived as
        the mass of everything below the root."""
        mass = self._fields["body_mass"][0, 1:].copy()
        inertia = self._fields["body_inertia"][0, 1:].copy()
        subtree = self._sims.expand("body_subtreemass")[0, :1].copy()
        return {"mass": mass, "inertia": inertia, "subtree": subtree}

    def picture(self) -> np.ndarray:
        """The first robot, `[height, width, 3]` bytes."""
        return side_view(self.robot.model, self._qpos[0], self._fields["geom_pos"][0])

    def state(self) -> dict[str, np.ndarray]:
        state = {"simulations": np.array(self._state), "pending": self._pending.copy()}
        return state if self._xpos is None else state | {"xpos": self._xpos.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._state[:] = state["simulations"]
        self._pending[:] = state["pending"]
        if self._xpos is not None:
            self._xpos[:] = state["xpos"]


def _upright(low: float, high: float, tilt: float, bounded: float = np.inf):
    """Height in (low, high), |pitch| < tilt, and every other coordinate and speed bounded."""

    def healthy(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        alive = (qpos[:, 1] > low) & (qpos[:, 1] < high) & (np.abs(qpos[:, 2]) < tilt)
        if np.isfinite(bounded):
            alive &= (np.abs(qpos[:, 2:]) < bounded).all(1) & (np.abs(qvel) < bounded).all(1)
        return alive

    return healthy


def _always(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    return np.ones(len(qpos), bool)


def _off_the_ground(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    return (qpos[:, 2] >= 0.2) & (qpos[:, 2] <= 1.0)


hopper = Robot(
    "hopper", "Hopper-v5", "hopper.xml", 4, ("foot_geom",), 1e-3, 1, 10.0, 5e-3, False, 1.0,
    _upright(0.7, np.inf, 0.2, bounded=100.0),
)  # fmt: skip
half_cheetah = Robot(
    "half-cheetah", "HalfCheetah-v5", "half_cheetah.xml", 5, ("bfoot", "ffoot"), 0.1, 1, np.inf,
    0.1, True, 0.0, _always, told=True,
)  # fmt: skip
two_way_cheetah = replace(
    half_cheetah, name="two-way-cheetah", told=False, hidden=0, either_way=True, place_clip=0.5,
    walled=True, horizon=200,
)  # fmt: skip
walker = Robot(
    "walker", "Walker2d-v5", "walker2d_v5.xml", 4, ("foot_geom", "foot_left_geom"), 1e-3, 1, 10.0,
    5e-3, False, 1.0, _upright(0.8, 2.0, 1.0),
)  # fmt: skip
ant = Robot(
    "ant", "Ant-v5", "ant.xml", 5, ("left_ankle_geom",), 0.5, 2, np.inf, 0.1, True, 1.0,
    _off_the_ground,
)  # fmt: skip
