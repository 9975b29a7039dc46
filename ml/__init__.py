"""How to estimate and decide: method rooms without input or output, and the pipelines that read and write."""
