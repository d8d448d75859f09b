"""The networks, their weights and how they run on images of any size.

``registry``, ``manifest``, ``header`` and ``resolve`` know names, files and hashes and never import
torch; everything else here does.
"""
