"""Holds an HTTP answer against what a user demands of it: for every kind of probe that speaks HTTP."""
