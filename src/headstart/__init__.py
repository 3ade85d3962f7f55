"""Transfer learning in reinforcement learning."""
