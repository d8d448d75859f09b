"""``python -m hdrmerge``: the same as the ``hdrmerge`` command."""

from hdrmerge.cli.app import main

if __name__ == "__main__":
    main()
