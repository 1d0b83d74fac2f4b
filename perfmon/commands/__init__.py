"""The commands of perfmon, one a file: `perfmon foo-bar` is the click command `command` in foo_bar.py."""
