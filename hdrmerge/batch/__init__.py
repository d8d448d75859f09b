"""Folders of brackets: what lies in them, which frames belong together, and merging them all."""
