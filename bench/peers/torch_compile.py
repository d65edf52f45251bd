"""PyTorch with torch.compile around the loss, gather included, and around Adam's step."""

from bench.peers.torch_eager import main

if __name__ == "__main__":
    main(compiled=True)
