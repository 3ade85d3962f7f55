"""Every method with fields that make it quick, and small problems for them."""

from headstart import Access, Domain, TransferProblem, Uniform

TRACK_TOML = """
[source]
environment = "probes:Track"
wind = {uniform = [-0.5, 0.5]}
[target]
environment = "probes:Track"
wind = 0.4
[access]
shots = [0, 2]
"""
PPO = {"hidden": [16], "num_envs": 8, "rollout_length": 16, "minibatch_size": 32, "epochs": 2}
SAC = {
    "algorithm": "sac", "hidden": [16], "num_envs": 2, "rollout_length": 8, "batch_size": 16,
    "learning_starts": 64, "updates_per_step": 0.5,
}  # fmt: skip
DQN = {
    "algorithm": "dqn", "hidden": [16], "num_envs": 4, "rollout_length": 4, "n_step": 1,
    "learning_starts": 64, "batch_size": 16, "updates_per_step": 0.25,
}  # fmt: skip
CRL = {
    "algorithm": "crl", "hidden": [16], "representation": 8, "num_envs": 2, "rollout_length": 8,
    "batch_size": 16, "learning_starts": 64, "updates_per_step": 0.5,
}  # fmt: skip
EPOPT = {"steps": 512, "trajectories": 8, "minibatch_size": 32}
FIELDS = {
    "scratch": {},
    "source-only": {"steps": 256},
    "oracle": {"steps": 256},
    "finetune": {"steps": 256},
    "pretrained": {"folder": "nowhere"},
    "diayn": {"steps": 256, "skills": 2, "learner": SAC},
    "smerl": {"steps": 256, "skills": 2, "learner": SAC},
    "residual": {"steps": 256},
    "progressive": {"steps": 256},
    "jump-start": {"steps": 256},
    "maxent": {"steps": 256, "learner": SAC},
    "multi-task": {"steps": 256},
    "her": {"steps": 256, "learner": DQN},
    "domain-randomization": {"steps": 256},
    "epopt": EPOPT,
    "epopt-posterior": {
        **EPOPT, "episodes_per_round": 2, "rounds": 2, "retrain": 256,
        "posterior": {"particles": 16, "transitions": 6},
    },
    "darc": {
        "steps": 256,
        "ratio": {"warmup": 64, "after": 64, "random_steps": 32, "every": 4, "hidden": [8]},
        "learner": SAC,
    },
    "random-force": {"steps": 256, "learner": SAC},
    "domain-confusion": {"steps": 256, "observations": 40, "samples": 8},
    "random-convolution": {"steps": 256, "samples": 8},
}  # fmt: skip
TRACK = TransferProblem(
    name="track",
    source=Domain("probes:Track", wind=Uniform(-0.5, 0.5)),
    target=Domain("probes:Track", wind=0.4),
    access=Access(shots=(0, 3, 10)),
    sweep={"wind": (-0.4, 0.4)},
    episodes=4,
    sweep_episodes=2,
    learner=PPO,
    methods=FIELDS,
)
DOT = TransferProblem(
    name="dot",
    source=Domain("probes:Dot", tint=Uniform(-0.0, 0.2)),
    target=Domain("probes:Dot", tint=1.0),
    access=Access(observations=60, shots=(0, 3, 10), behaviour="centre"),
    sweep={"tint": (0.5, 1.0)},
    episodes=4,
    sweep_episodes=2,
    learner=PPO,
    methods=FIELDS,
)
PUSHED = TransferProblem(
    name="pushed",
    source=Domain("hopper"),
    target=Domain("hopper", torso_mass=9.0),
    access=Access(shots=(0, 3, 10)),
    sweep={"torso_mass": (3, 9)},
    episodes=4,
    sweep_episodes=2,
    learner=PPO,
    methods=FIELDS,
)
FLIPS = TransferProblem(
    name="flips",
    source=Domain("bit-flip", bits=6),
    target=Domain("bit-flip", bits=6),
    access=Access(shots=(0, 3, 10)),
    sweep={"bits": (4, 6)},
    episodes=4,
    sweep_episodes=2,
    learner=DQN,
    methods=FIELDS,
)
