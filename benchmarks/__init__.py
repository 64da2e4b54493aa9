"""What speed and size the playground has on this machine, against a bare PyTorch loop and against what it promises."""
