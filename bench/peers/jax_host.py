"""JAX with an epoch's scan of gather and step in one jitted call; NumPy, much faster, shuffles."""

from bench.peers.jax_scan import main

if __name__ == "__main__":
    main(host_shuffles=True)
