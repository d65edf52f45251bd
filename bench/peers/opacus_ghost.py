"""Opacus without noise, with ghost clipping: two backward passes, and no example's gradient."""

from bench.peers.opacus_hooks import main

if __name__ == "__main__":
    main(ghost=True)
