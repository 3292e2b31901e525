"""Entry points of the commands: parse, call, exit code. One module a command; ``exits`` decides how an error is shown.

Imported by ``--help`` and shell completion too: nothing here imports torch at the top.
"""
