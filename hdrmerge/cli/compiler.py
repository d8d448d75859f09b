"""Loading the compiler of inner loops while something else has to be waited for."""

from __future__ import annotations

from threading import Thread

from hdrmerge.cli.console import Console


def wake_compiler(console: Console) -> None:
    """Load it in a thread of its own: decoding files leaves the interpreter idle."""

    def wake() -> None:
        from hdrmerge import compiled

        compiled.wake(
            lambda: console.say(
                "Compiling for this processor: it happens once, and takes half a minute."
            )
        )

    Thread(target=wake).start()
