"""The subcommands of ``fcinv``: each module has ``add_to`` (its options) and ``run``."""
