"""Experience: how it is gathered, kept and changed."""
