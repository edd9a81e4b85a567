"""`python -m itl_infer` is `itl-infer`."""

from itl_infer.cli import run

run()
