"""The recipe of the shipped weights; the command line imports it, nothing else does."""
