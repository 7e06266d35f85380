"""Ways to run a model behind `core.ports.Runtime`. `torch/` is the only importer of torch; imports only core."""
