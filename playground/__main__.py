"""`python -m dlplay`, or this file by its path, is `dlplay`."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the current folder with -m, this file's with a path: a `torch/` there is not PyTorch
if not __package__:  # started by its path: this very copy, whether one is installed or not
    root = __file__.rpartition("/")[0].rpartition("/")[0]
    sys.path.insert(0, root)
    import dlplay  # noqa: F401

    sys.path.remove(root)  # a package that is imported finds its own modules

from dlplay.cli import main

main()
