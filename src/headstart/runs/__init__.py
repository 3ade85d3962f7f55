"""Runs: jobs, meters, checkpoints, logs, evaluation, and where they are executed."""
