"""`python -m caminito.cli`: the same as the script `caminito`."""

from caminito.cli import main

main()
