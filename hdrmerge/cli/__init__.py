"""The command line: one thin module a command; ``app.py`` alone catches errors and exits."""
