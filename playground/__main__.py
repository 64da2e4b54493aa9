"""`python -m dlplay`, this file by its path, or the entry point: each is `dlplay`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder with -m, this file's with a path: a `torch/` there is not PyTorch
    if not __package__:  # started by its path: this very copy, whether one is installed or not
        root = __file__.rpartition("/")[0].rpartition("/")[0]
        sys.path.insert(0, root)
        import dlplay  # noqa: F401

        sys.path.remove(root)  # a package that is imported finds its own modules


def main() -> None:
    """Run the command line and exit with its status. Ctrl+C is told in a line from the first import on."""
    try:
        from dlplay import cli

        cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("dlplay: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
