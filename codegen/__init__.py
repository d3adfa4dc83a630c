"""codegen: tensor programs to native code. Knows no Tensor, no gradient, no Python frame."""
