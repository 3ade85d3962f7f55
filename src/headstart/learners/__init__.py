"""Learners by name, one file each."""

from headstart.registry import Registry

LEARNERS = Registry(
    "learner",
    {
        "ppo": "headstart.learners.ppo:PPO",
        "sac": "headstart.learners.sac:SAC",
        "dqn": "headstart.learners.dqn:DQN",
        "crl": "headstart.learners.crl:CRL",
        "imitation": "headstart.learners.imitation:Imitation",
    },
    needs=(
        "__dataclass_fields__", "accepts", "parts", "on_policy", "num_envs", "rollout_length",
        "learning_rate", "expert", "init", "behaviour", "update", "policy", "knowledge", "graft",
    ),
)  # fmt: skip
