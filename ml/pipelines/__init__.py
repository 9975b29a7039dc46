"""The stages of the chain: the only part of `ml` that reads from and writes to the warehouse."""
