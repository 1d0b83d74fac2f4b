"""The daemon: what is due, what was seen, what it means, whom to tell, and how to look at it."""
