"""The recipe that trained the tiny Stable Diffusion shipped in `sdhelpers/tiny_sd`."""
